//! The tokens of `LogQL`, with the places and words that Loki's own lexer gives to its errors.

use std::fmt;

/// What Loki answers to a query that it can not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadQuery {
    place: Place,
    words: String,
}

impl BadQuery {
    pub(crate) fn at(place: Place, words: impl Into<String>) -> Self {
        Self { place, words: words.into() }
    }

    /// An error of the query as a whole.
    pub(crate) fn whole(words: impl Into<String>) -> Self {
        Self::at(Place::default(), words)
    }
}

impl fmt::Display for BadQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Place { line: 0, column: 0 } => write!(f, "parse error : {}", self.words),
            Place { line, column } => write!(f, "parse error at line {line}, col {column}: {}", self.words),
        }
    }
}

/// Where a token starts, from 1. Loki loses the line of tokens that it reads in two steps, and says 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Place {
    line: usize,
    column: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Token {
    End,
    Identifier(String),
    /// A function or one of `by`, `without`, where it can be one.
    Word(String),
    String(String),
    Number(String),
    Range(i64),
    Punctuation(&'static str),
    /// The query can not be read on from here.
    Broken(BadQuery),
}

impl Token {
    pub(crate) fn is(&self, punctuation: &str) -> bool {
        matches!(self, Self::Punctuation(text) if *text == punctuation)
    }

    pub(crate) fn word(&self) -> Option<&str> {
        if let Self::Word(word) = self { Some(word) } else { None }
    }

    /// There is nothing more to read, or nothing that can be read.
    pub(crate) fn is_last(&self) -> bool {
        matches!(self, Self::End | Self::Broken(_))
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::End | Self::Broken(_) => "$end",
            Self::Identifier(_) => "IDENTIFIER",
            Self::Word(word) => word,
            Self::String(_) => "STRING",
            Self::Number(_) => "NUMBER",
            Self::Range(_) => "RANGE",
            Self::Punctuation(text) => text,
        })
    }
}

/// Longest first.
const PUNCTUATION: &[&str] = &[
    "|=", "|~", "|>", "!=", "!~", "!>", "=~", "==", ">=", "<=", "{", "}", "(", ")", ",", "=", "|", "+", "-", "*", "/", "%", "^",
    ">", "<",
];
/// Words that are functions when a parenthesis or a grouping follows.
const FUNCTIONS: &[&str] = &[
    "sum",
    "avg",
    "max",
    "min",
    "count",
    "stddev",
    "stdvar",
    "topk",
    "bottomk",
    "sort",
    "sort_desc",
    "rate",
    "rate_counter",
    "count_over_time",
    "bytes_rate",
    "bytes_over_time",
    "avg_over_time",
    "sum_over_time",
    "min_over_time",
    "max_over_time",
    "quantile_over_time",
    "first_over_time",
    "last_over_time",
    "absent_over_time",
    "vector",
    "label_replace",
];
const WORDS: &[&str] = &["by", "without", "or", "and", "unless", "unwrap", "offset", "json", "logfmt", "ip", "bool", "on"];

#[derive(Debug)]
pub(crate) struct Lexer {
    text: Vec<char>,
    at: usize,
}

impl Lexer {
    pub(crate) fn new(query: &str) -> Self {
        Self { text: query.chars().collect(), at: 0 }
    }

    /// All tokens; the last one is the end, or where the query is broken.
    pub(crate) fn tokens(mut self) -> Vec<(Token, Place)> {
        let mut tokens = Vec::new();
        loop {
            let token = self.next().unwrap_or_else(|error| (Token::Broken(error), Place::default()));
            let end = matches!(token.0, Token::End | Token::Broken(_));
            tokens.push(token);
            if end {
                return tokens;
            }
        }
    }

    fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    fn rest(&self) -> String {
        self.text.get(self.at..).unwrap_or_default().iter().collect()
    }

    fn place(&self) -> Place {
        if self.text.is_empty() {
            return Place::default();
        }
        let before = self.text.get(..self.at).unwrap_or_default();
        let line = before.iter().filter(|&&char| char == '\n').count() + 1;
        Place { line, column: before.iter().rev().take_while(|&&char| char != '\n').count() + 1 }
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> String {
        let mut taken = String::new();
        while let Some(char) = self.peek().filter(|&char| wanted(char)) {
            taken.push(char);
            self.at += 1;
        }
        taken
    }

    fn next(&mut self) -> Result<(Token, Place), BadQuery> {
        self.take_while(char::is_whitespace);
        let place = self.place();
        let Some(first) = self.peek() else { return Ok((Token::End, place)) };
        if first == '"' || first == '`' {
            return Ok((self.string(first, place)?, place));
        }
        if first == '[' {
            let place = Place { line: 0, ..place };
            return Ok((self.range(place)?, place));
        }
        if first.is_ascii_digit() {
            return Ok((Token::Number(self.take_while(|char| char.is_ascii_digit() || char == '.')), place));
        }
        if first.is_alphabetic() || first == '_' {
            let word = self.take_while(|char| char.is_alphanumeric() || char == '_');
            return Ok((self.word(word), place));
        }
        let rest = self.rest();
        if let Some(text) = PUNCTUATION.iter().copied().find(|text| rest.starts_with(*text)) {
            self.at += text.len();
            return Ok((Token::Punctuation(text), Place { line: if text.len() > 1 { 0 } else { place.line }, ..place }));
        }
        self.at += 1;
        Ok((Token::Identifier(first.into()), place))
    }

    fn word(&self, word: String) -> Token {
        let lower = word.to_lowercase();
        if FUNCTIONS.contains(&lower.as_str()) {
            if self.opens() { Token::Word(lower) } else { Token::Identifier(word) }
        } else if WORDS.contains(&lower.as_str()) {
            Token::Word(lower)
        } else {
            Token::Identifier(word)
        }
    }

    /// A parenthesis follows, or a grouping with one.
    fn opens(&self) -> bool {
        let rest = self.rest().to_lowercase();
        let rest = rest.trim_start();
        let grouping = rest.strip_prefix("by").or_else(|| rest.strip_prefix("without"));
        rest.starts_with('(') || grouping.is_some_and(|rest| rest.trim_start().starts_with('('))
    }

    fn string(&mut self, quote: char, place: Place) -> Result<Token, BadQuery> {
        self.at += 1;
        let mut text = String::new();
        loop {
            let Some(char) = self.peek().filter(|&char| quote == '`' || char != '\n') else {
                return Err(BadQuery::at(place, "literal not terminated"));
            };
            self.at += 1;
            match char {
                _ if char == quote => return Ok(Token::String(text)),
                '\\' if quote == '"' => {
                    let escape = self.peek();
                    self.at += 1;
                    text.push(match escape {
                        Some('n') => '\n',
                        Some('t') => '\t',
                        Some('r') => '\r',
                        Some(same @ ('\\' | '"')) => same,
                        _ => return Err(BadQuery::at(place, "invalid char escape")),
                    });
                }
                _ => text.push(char),
            }
        }
    }

    fn range(&mut self, place: Place) -> Result<Token, BadQuery> {
        self.at += 1;
        let inside = self.take_while(|char| char != ']');
        if self.peek().is_none() {
            return Err(BadQuery::at(place, "missing closing ']' in duration"));
        }
        self.at += 1;
        if inside.is_empty() {
            return Err(BadQuery::at(place, "empty duration string"));
        }
        duration(&inside).map(Token::Range).ok_or_else(|| BadQuery::at(place, format!("not a valid duration string: {inside:?}")))
    }
}

/// A duration like `1h30m`, in nanoseconds.
pub(crate) fn duration(text: &str) -> Option<i64> {
    let mut rest = text;
    let mut total = 0_i64;
    while !rest.is_empty() {
        let digits = rest.find(|char: char| !char.is_ascii_digit())?;
        let (number, tail) = rest.split_at(digits);
        let unit = tail.find(|char: char| char.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit);
        let millis = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 604_800_000,
            "y" => 31_536_000_000,
            _ => return None,
        };
        total = total.checked_add(number.parse::<i64>().ok()?.checked_mul(millis)?.checked_mul(1_000_000)?)?;
        rest = tail;
    }
    (!text.is_empty()).then_some(total)
}
