//! Variables, as Grafana writes them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::variables::{Times, Values, Variables};

fn list() -> Value {
    json!([
        {"name": "one", "type": "query", "current": {"value": "a.b"}},
        {"name": "some", "type": "query", "multi": true, "current": {"value": ["a.b", "c"]}},
        {"name": "single", "type": "query", "multi": true, "current": {"value": ["a.b"]}},
        {"name": "word", "type": "query", "multi": true, "current": {"value": "a.b"}},
        {"name": "every", "type": "query", "multi": true, "includeAll": true, "current": {"value": ["$__all"]},
         "options": [{"value": "$__all"}, {"value": "x"}, {"value": "y"}]},
        {"name": "any", "type": "query", "includeAll": true, "current": {"value": "$__all"}, "options": []},
        {"name": "fresh", "type": "query", "includeAll": true},
        {"name": "own", "type": "query", "includeAll": true, "allValue": ".*", "current": {"value": ["$__all"]}},
        {"name": "unset", "type": "query", "current": {}},
        {"name": "blank", "type": "query", "current": {"value": ""}},
        {"name": "constant", "type": "constant", "query": "k"},
        {"name": "box", "type": "textbox", "query": "typed", "current": {"value": ""}},
        {"name": "custom", "type": "custom", "query": "Eins : 1, Zwei : 2"},
        {"name": "step", "type": "interval", "query": "1m,5m", "current": {"value": "5m"}},
        {"name": "auto", "type": "interval", "query": "1m", "current": {"value": "$__auto_interval_auto"}},
        {"name": "number", "type": "custom", "current": {"value": 7}},
        {"name": "filters", "type": "adhoc"},
        {"name": "quoted", "type": "custom", "current": {"value": "it's"}},
        {"name": "quotes", "type": "custom", "multi": true, "current": {"value": ["it's", "b"]}},
        {"name": "slash", "type": "custom", "multi": true, "current": {"value": "a\\b"}},
    ])
}

#[test]
fn each_manner_of_writing_a_variable_is_replaced_as_grafana_does() {
    let list = list();
    let given = BTreeMap::from([
        ("given".to_owned(), Values::One("g".to_owned())),
        ("blank".to_owned(), Values::Several(vec!["g".to_owned(), "h".to_owned()])),
    ]);
    let times = Times { from: 1_800_000_000_000, to: 1_800_003_600_000, interval: 30_000 };
    let variables = Variables { list: list.as_array().unwrap(), given: &given, dashboard: ("home", "Homelab"), times };
    for (plugin, text, replaced) in [
        ("loki", "{a=\"$one\"}", Ok("{a=\"a.b\"}")),
        ("loki", "{a=\"${one}\", b=\"[[one]]\"}", Ok("{a=\"a.b\", b=\"a.b\"}")),
        ("loki", "$some", Ok("a\\\\.b|c")),
        ("prometheus", "$some", Ok("(a\\\\.b|c)")),
        ("prometheus", "$single", Ok("a\\\\.b")),
        ("loki", "$word", Ok("a\\\\.b")),
        ("loki", "$slash", Ok("a\\\\\\\\b")),
        ("postgres", "in ($some)", Ok("in ('a.b','c')")),
        ("postgres", "in ($quotes)", Ok("in ('it''s','b')")),
        ("mysql", "= '$quoted'", Ok("= 'it''s'")),
        ("other", "$some", Ok("{a.b,c}")),
        ("loki", "${some:regex}", Ok("(a\\.b|c)")),
        ("loki", "${single:regex}", Ok("a\\.b")),
        ("loki", "${some:pipe}", Ok("a.b|c")),
        ("loki", "${some:csv}", Ok("a.b,c")),
        ("loki", "[[some:raw]]", Ok("a.b,c")),
        ("loki", "${some:glob}", Ok("{a.b,c}")),
        ("loki", "${some:json}", Ok("[\"a.b\",\"c\"]")),
        ("loki", "${some:singlequote}", Ok("'a.b','c'")),
        ("loki", "${some:doublequote}", Ok("\"a.b\",\"c\"")),
        ("loki", "${quotes:sqlstring}", Ok("'it''s','b'")),
        ("loki", "${some:text}", Ok("a.b + c")),
        ("loki", "${some:lucene}", Err("some:lucene")),
        ("loki", "$every", Ok("x|y")),
        ("loki", "{a=~\"$any\"}", Ok("{a=~\".+\"}")),
        ("loki", "$fresh", Ok(".+")),
        ("postgres", "$any", Err("any")),
        ("loki", "$own", Ok(".*")),
        ("loki", "$unset", Err("unset")),
        ("loki", "$given/$blank", Ok("g/g|h")),
        ("loki", "$constant-$box-$custom-$step-$auto-$number", Ok("k--1-5m-30s-7")),
        ("loki", "$filters", Err("filters")),
        ("loki", "[$__interval] [$__range] $__range_s $__range_ms $__interval_ms", Ok("[30s] [3600s] 3600 3600000 30000")),
        ("loki", "[${__range_s}s] [$__rate_interval] [$__auto]", Ok("[3600s] [60s] [30s]")),
        ("loki", "$__from ${__to} ${__from:date:seconds}", Ok("1800000000000 1800003600000 1800000000")),
        ("loki", "${__from:date} ${__to:date:iso}", Ok("2027-01-15T08:00:00.000Z 2027-01-15T09:00:00.000Z")),
        ("loki", "${__from:date:YYYY}", Err("__from:date:YYYY")),
        ("loki", "${__dashboard} ${__dashboard.uid}", Ok("Homelab home")),
        ("loki", "${__user.login}", Err("__user:login")),
        ("postgres", "$__timeFilter(at) $__timeGroup(at, $__interval)", Ok("$__timeFilter(at) $__timeGroup(at, 30s)")),
        (
            "loki",
            "|~ \"a$\" | label_format b=\"$1\" c=\"${word2}\" $ ${} [[ [[x]",
            Ok("|~ \"a$\" | label_format b=\"$1\" c=\"${word2}\" $ ${} [[ [[x]"),
        ),
        ("loki", "rate({a=\"b\"}[5m])é$one", Ok("rate({a=\"b\"}[5m])éa.b")),
    ] {
        let replaced = replaced.map(str::to_owned).map_err(str::to_owned);
        assert_eq!(variables.replaced(text, plugin, false), replaced, "{plugin}: {text}");
    }
    assert_eq!(variables.replaced("[$__auto]", "loki", true).as_deref(), Ok("[3600s]"));
}
