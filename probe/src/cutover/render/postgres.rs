//! What `cutover postgres` found and did.

use serde_json::{Value, json};

use super::super::doctor::Finding;
use super::{Case, Diagnosis, Show};

/// Findings about a server, or about two.
pub(crate) struct Found<'a> {
    /// The verb.
    pub(crate) verb: &'static str,
    /// Which server.
    pub(crate) place: &'a str,
    pub(crate) findings: &'a [Finding],
    /// What else machines may want to know, by name.
    pub(crate) more: &'a [(&'static str, Value)],
}

impl Found<'_> {
    fn diagnosis(&self) -> Diagnosis<'_> {
        Diagnosis { head: format!("{} {}", self.verb, self.place), findings: self.findings }
    }
}

impl Show for Found<'_> {
    fn body(&self) -> Value {
        let mut body = self.diagnosis().body();
        let more = [("verb", json!(self.verb)), ("server", json!(self.place))].into_iter().chain(self.more.iter().cloned());
        if let Value::Object(fields) = &mut body {
            fields.extend(more.map(|(name, value)| (name.to_owned(), value)));
        }
        body
    }

    fn lines(&self, wide: bool) -> Vec<String> {
        self.diagnosis().lines(wide)
    }

    fn names(&self) -> Vec<String> {
        self.diagnosis().names()
    }

    fn cases(&self) -> (String, Vec<Case>) {
        (format!("postgres {}", self.verb), self.diagnosis().cases().1)
    }

    fn tests(&self) -> (String, Vec<Case>) {
        (format!("postgres {}", self.verb), self.diagnosis().tests().1)
    }
}
