//! The part of `LogQL` that the stand-in speaks: stream selectors with line filters, lines or bytes over time, one `sum`, and
//! constants. Everything else is refused in the words of a parse error.

use std::collections::BTreeMap;

use regex::Regex;

use super::lex::{BadQuery, Lexer, Place, Token, duration};

pub(crate) type Labels = BTreeMap<String, String>;

/// Labels as Loki writes them: `{a="b", c="d"}`.
pub(crate) fn shown(labels: &Labels) -> String {
    let pairs: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{{{}}}", pairs.join(", "))
}

const NO_SELECTIVE_MATCHER: &str = "queries require at least one regexp or equality matcher that does not have an empty-compatible value. For instance, app=~\".*\" does not meet this requirement, but app=~\".+\" will";
const OPERATORS: &[&str] = &["=", "=~", "!~", "!="];
const FILTERS: &[&str] = &["|=", "!=", "|~", "!~"];

/// A whole query.
#[derive(Debug, Clone)]
pub(crate) enum Query {
    Lines(Selector),
    Numbers(Numbers),
    /// `vector(1)`, and sums of such.
    Constant(f64),
}

/// `count_over_time({…}[1h] offset 1m)`, perhaps summed, and perhaps without an offset.
#[derive(Debug, Clone)]
pub(crate) struct Numbers {
    pub(crate) selector: Selector,
    pub(crate) range: i64,
    pub(crate) offset: i64,
    pub(crate) bytes: bool,
    pub(crate) sum: Option<Grouping>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Grouping {
    By(Vec<String>),
    Without(Vec<String>),
}

impl Grouping {
    pub(crate) fn apply(&self, labels: Labels) -> Labels {
        let kept = |name: &String| match self {
            Self::By(names) => names.contains(name),
            Self::Without(names) => !names.contains(name),
        };
        labels.into_iter().filter(|(name, _)| kept(name)).collect()
    }
}

/// `{a="b"} |= "c"`.
#[derive(Debug, Clone)]
pub(crate) struct Selector {
    matchers: Vec<(String, Test)>,
    filters: Vec<Test>,
}

impl Selector {
    /// Everything.
    pub(crate) fn all() -> Self {
        Self { matchers: Vec::new(), filters: Vec::new() }
    }

    /// A missing label counts as an empty one.
    pub(crate) fn takes(&self, labels: &Labels) -> bool {
        self.matchers.iter().all(|(name, test)| test.accepts(labels.get(name).map_or("", String::as_str)))
    }

    pub(crate) fn takes_line(&self, line: &str) -> bool {
        self.filters.iter().all(|test| test.accepts(line))
    }

    pub(crate) fn check_filters(&self) -> Result<(), &BadQuery> {
        let broken = self.filters.iter().find_map(|test| match test {
            Test::Broken(error) => Some(error),
            Test::Is(_) | Test::Contains(_) | Test::Matches(_) | Test::Not(_) => None,
        });
        broken.map_or(Ok(()), Err)
    }

    fn is_selective(&self) -> bool {
        self.matchers.iter().any(|(_, test)| !test.accepts(""))
    }
}

#[derive(Debug, Clone)]
enum Test {
    Is(String),
    Contains(String),
    Matches(Regex),
    Not(Box<Test>),
    /// A filter's regular expression is looked at only when its query runs.
    Broken(BadQuery),
}

impl Test {
    fn accepts(&self, text: &str) -> bool {
        match self {
            Self::Is(value) => text == value,
            Self::Contains(part) => text.contains(part.as_str()),
            Self::Matches(regex) => regex.is_match(text),
            Self::Not(test) => !test.accepts(text),
            Self::Broken(_) => false,
        }
    }
}

pub(crate) fn parse(query: &str) -> Result<Query, BadQuery> {
    let mut parser = Parser::new(query);
    let query = parser.query()?;
    parser.end()?;
    let selective = match &query {
        Query::Lines(selector) | Query::Numbers(Numbers { selector, .. }) => selector.is_selective(),
        Query::Constant(_) => true,
    };
    if selective { Ok(query) } else { Err(BadQuery::whole(NO_SELECTIVE_MATCHER)) }
}

/// A selector without filters, which may be empty: `match[]` of the series endpoint.
pub(crate) fn parse_matchers(text: &str) -> Result<Selector, String> {
    let mut parser = Parser::new(text);
    let query = parser.query().map_err(|error| error.to_string())?;
    parser.end().map_err(|error| error.to_string())?;
    match query {
        Query::Lines(selector) if selector.filters.is_empty() => Ok(selector),
        Query::Lines(_) | Query::Numbers(_) | Query::Constant(_) => Err("only label matchers are supported".into()),
    }
}

struct Parser {
    tokens: std::iter::Peekable<std::vec::IntoIter<(Token, Place)>>,
}

impl Parser {
    fn new(query: &str) -> Self {
        Self { tokens: Lexer::new(query).tokens().into_iter().peekable() }
    }

    fn query(&mut self) -> Result<Query, BadQuery> {
        let first = self.peek();
        match first.word() {
            None if first.is("{") => Ok(Query::Lines(self.filtered("")?)),
            None => Err(self.unexpected("")),
            Some("vector") => self.constants(),
            Some("sum") => self.sum().map(Query::Numbers),
            Some(_) => self.over_time().map(Query::Numbers),
        }
    }

    fn end(&mut self) -> Result<(), BadQuery> {
        if self.peek() == Token::End { Ok(()) } else { Err(self.unexpected("")) }
    }

    fn sum(&mut self) -> Result<Numbers, BadQuery> {
        self.next();
        let before = self.grouping()?;
        self.expect("(", if before.is_some() { "(" } else { "" })?;
        if self.peek().is("{") {
            // A selector is read to its end before its missing range is noticed.
            self.filtered("")?;
        }
        if self.peek().word().is_none() {
            return Err(self.unexpected(""));
        }
        let numbers = self.over_time()?;
        self.expect(")", "")?;
        let after = if before.is_none() { self.grouping()? } else { None };
        Ok(Numbers { sum: Some(before.or(after).unwrap_or(Grouping::By(Vec::new()))), ..numbers })
    }

    fn grouping(&mut self) -> Result<Option<Grouping>, BadQuery> {
        let by = match self.peek().word() {
            Some("by") => true,
            Some("without") => false,
            _ => return Ok(None),
        };
        self.next();
        self.expect("(", "(")?;
        let mut names = Vec::new();
        if !self.peek().is(")") {
            loop {
                let Token::Identifier(name) = self.peek() else {
                    return Err(self.unexpected(if names.is_empty() { "IDENTIFIER or )" } else { "IDENTIFIER" }));
                };
                self.next();
                names.push(name);
                if !self.peek().is(",") {
                    break;
                }
                self.next();
            }
        }
        self.expect(")", ", or )")?;
        Ok(Some(if by { Grouping::By(names) } else { Grouping::Without(names) }))
    }

    fn over_time(&mut self) -> Result<Numbers, BadQuery> {
        let Token::Word(function) = self.peek() else { return Err(self.unexpected("")) };
        let bytes = match function.as_str() {
            "count_over_time" => false,
            "bytes_over_time" => true,
            _ => return Err(stranger(&function)),
        };
        self.next();
        self.expect("(", "")?;
        let mut selector = self.filtered("NUMBER or { or (")?;
        let Token::Range(range) = self.peek() else { return Err(self.unexpected("")) };
        self.next();
        let offset = self.offset()?;
        selector.filters.extend(self.filters()?);
        self.expect(")", ")")?;
        if self.grouping()?.is_some() {
            return Err(BadQuery::whole(format!("grouping not allowed for {function} aggregation")));
        }
        Ok(Numbers { selector, range, offset, bytes, sum: None })
    }

    fn offset(&mut self) -> Result<i64, BadQuery> {
        if self.peek().word() != Some("offset") {
            return Ok(0);
        }
        self.next();
        let Token::Number(number) = self.peek() else { return Err(self.unexpected("DURATION")) };
        self.next();
        let Token::Identifier(unit) = self.peek() else { return Err(self.unexpected("DURATION")) };
        let offset = duration(&format!("{number}{unit}")).ok_or_else(|| self.unexpected("DURATION"))?;
        self.next();
        Ok(offset)
    }

    fn constants(&mut self) -> Result<Query, BadQuery> {
        let mut sum = 0.0;
        loop {
            if self.peek().word() != Some("vector") {
                return Err(self.unexpected(""));
            }
            self.next();
            self.expect("(", "")?;
            let Token::Number(number) = self.peek() else { return Err(self.unexpected("NUMBER")) };
            sum += number.parse::<f64>().map_err(|_| self.unexpected("NUMBER"))?;
            self.next();
            self.expect(")", ")")?;
            if !self.peek().is("+") {
                return Ok(Query::Constant(sum));
            }
            self.next();
        }
    }

    fn filtered(&mut self, expected: &str) -> Result<Selector, BadQuery> {
        let mut selector = self.selector(expected)?;
        selector.filters = self.filters()?;
        Ok(selector)
    }

    fn selector(&mut self, expected: &str) -> Result<Selector, BadQuery> {
        self.expect("{", expected)?;
        let mut matchers = Vec::new();
        if !self.peek().is("}") {
            loop {
                let Token::Identifier(name) = self.peek() else {
                    return Err(self.unexpected(if matchers.is_empty() { "IDENTIFIER or }" } else { "IDENTIFIER" }));
                };
                self.next();
                let Some(operator) = self.one_of(OPERATORS) else { return Err(self.unexpected("= or =~ or !~ or !=")) };
                let Token::String(value) = self.peek() else { return Err(self.unexpected("STRING")) };
                self.next();
                matchers.push((name, matcher(operator, value)?));
                if !self.peek().is(",") {
                    break;
                }
                self.next();
            }
        }
        self.expect("}", "} or ,")?;
        Ok(Selector { matchers, filters: Vec::new() })
    }

    fn filters(&mut self) -> Result<Vec<Test>, BadQuery> {
        let mut filters = Vec::new();
        while let Some(operator) = self.one_of(FILTERS) {
            let Token::String(part) = self.peek() else { return Err(self.unexpected("STRING or ip")) };
            self.next();
            filters.push(filter(operator, part));
        }
        if self.peek().word() == Some("or") && !filters.is_empty() {
            return Err(stranger("or"));
        }
        if self.peek().is("|") {
            self.next();
            return Err(if self.peek().is_last() { self.unexpected("") } else { stranger("|") });
        }
        Ok(filters)
    }

    fn peek(&mut self) -> Token {
        self.tokens.peek().map_or(Token::End, |(token, _)| token.clone())
    }

    fn next(&mut self) {
        // The end stays, so that it can be met again.
        if !self.peek().is_last() {
            self.tokens.next();
        }
    }

    fn one_of(&mut self, wanted: &[&str]) -> Option<&'static str> {
        let Token::Punctuation(text) = self.peek() else { return None };
        if !wanted.contains(&text) {
            return None;
        }
        self.next();
        Some(text)
    }

    fn expect(&mut self, wanted: &'static str, expected: &str) -> Result<(), BadQuery> {
        if self.peek().is(wanted) {
            self.next();
            return Ok(());
        }
        Err(self.unexpected(expected))
    }

    fn unexpected(&mut self, expected: &str) -> BadQuery {
        let (token, place) = self.tokens.peek().cloned().unwrap_or((Token::End, Place::default()));
        if let Token::Broken(error) = token {
            return error;
        }
        let expecting = if expected.is_empty() { String::new() } else { format!(", expecting {expected}") };
        BadQuery::at(place, format!("syntax error: unexpected {token}{expecting}"))
    }
}

/// Real Loki may know it: said so, so that nobody takes it for a typing error.
fn stranger(word: &str) -> BadQuery {
    BadQuery::whole(format!("this stand-in for Loki does not speak `{word}`"))
}

fn matcher(operator: &str, value: String) -> Result<Test, BadQuery> {
    let regex = |value: &str| regex(&format!("^(?s:{value})$")).ok_or_else(|| BadQuery::whole(bad_regex(value)));
    Ok(match operator {
        "=" => Test::Is(value),
        "!=" => Test::Not(Box::new(Test::Is(value))),
        "=~" => Test::Matches(regex(&value)?),
        _ => Test::Not(Box::new(Test::Matches(regex(&value)?))),
    })
}

fn filter(operator: &str, part: String) -> Test {
    match operator {
        "|=" => return Test::Contains(part),
        "!=" => return Test::Not(Box::new(Test::Contains(part))),
        _ => {}
    }
    match regex(&part) {
        Some(regex) if operator == "|~" => Test::Matches(regex),
        Some(regex) => Test::Not(Box::new(Test::Matches(regex))),
        None => Test::Broken(BadQuery::whole(format!("stage '{operator} {part:?}' : {}", bad_regex(&part)))),
    }
}

fn regex(text: &str) -> Option<Regex> {
    Regex::new(text).ok()
}

fn bad_regex(text: &str) -> String {
    format!("error parsing regexp: `{text}`")
}
