//! What a person sees at `/`, in a real browser: the truth while the verifier says it, and nothing that looks well when it
//! does not.

mod steps;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tests::{Browser, Verifier, World, wait_until};

use super::{AT_ONCE, PATIENCE, QUICK, Script, migration, opened, reaches, switch};

/// A gate that soaks longer than a test.
const LONG: &str = "{soak: 1h, minSamples: 600, unknownBudget: 0s}";
/// Text that would be a script, a picture and a link if anything took it for markup.
const HOSTILE: &str = "<img src=http://203.0.113.7/x.png onerror=window.owned=1> <script>window.owned=1</script> \
                       `<b>bold</b>` <a href=javascript:window.owned=1>click</a> </p></main><h1>open</h1> &lt;i&gt;";
const WALL: (u32, u32) = (1600, 1000);
const PHONE: (u32, u32) = (380, 800);

/// What is on the page. A colour is green when it is clearly more green than anything else.
const LOOK: &str = r"
const seen = (node) => node.getClientRects().length > 0 && getComputedStyle(node).visibility === 'visible';
const green = (colour) => {
  const [r, g, b, a] = (colour.match(/[\d.]+/g) || []).map(Number);
  return a !== 0 && g > 1.25 * r && g > 1.25 * b;
};
const colours = ['color', 'backgroundColor', 'borderTopColor', 'borderLeftColor', 'fill', 'stroke'];
const all = [...document.querySelectorAll('body *')].filter(seen);
return {
  alarm: document.getElementById('alarm').checkVisibility() ? document.getElementById('alarm').innerText : '',
  marks: [...document.querySelectorAll('.mark')].filter(seen).map((mark) => mark.innerText.trim()),
  strips: document.querySelectorAll('.strip').length,
  green: all.filter((node) => colours.some((name) => green(getComputedStyle(node)[name]))).length,
  nodes: document.querySelectorAll('*').length,
  wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  text: document.body.innerText,
  spoken: document.getElementById('spoken').textContent,
  title: document.title,
};";

/// Each text that has too little contrast with what is behind it (WCAG AA).
const CONTRAST: &str = r"
const parse = (colour) => (colour.match(/[\d.]+/g) || []).map(Number);
const light = (rgb) => { const [r, g, b] = rgb.map((v) => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4); return .2126 * r + .7152 * g + .0722 * b; };
const behind = (node) => { for (; node; node = node.parentElement) { const c = parse(getComputedStyle(node).backgroundColor); if (c[3] !== 0) return c.slice(0, 3); } };
return [...document.querySelectorAll('body *')].filter((node) => node.checkVisibility() && [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim()))
  .map((node) => { const [a, b] = [parse(getComputedStyle(node).color).slice(0, 3), behind(node)].map(light); return [(Math.max(a, b) + .05) / (Math.min(a, b) + .05), node.outerHTML]; })
  .filter(([ratio]) => !(ratio >= 4.5));";

/// The page of a verifier with two scripted probes, `a` and `b`.
struct Page {
    a: Script,
    verifier: Verifier,
    browser: Browser,
    _world: World,
}

impl Page {
    async fn open(gate: &str) -> Self {
        let world = World::new().unwrap();
        let (a, b) = (Script::new(&world, "a"), Script::new(&world, "b"));
        let document = migration(QUICK, "{}", gate, &[&a.probe(), &b.probe()]);
        let (verifier, browser) = tokio::try_join!(Verifier::start_scripted(&world, &document), Browser::start(&world)).unwrap();
        browser.open(&format!("{}/", verifier.url())).await.unwrap();
        Self { a, verifier, browser, _world: world }
    }

    async fn look(&self) -> Result<Value> {
        self.browser.run(LOOK).await
    }

    /// Waits until what is seen is as wanted, and returns it.
    async fn shows(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let look = async || {
            let seen = self.look().await?;
            ensure!(wanted(&seen), "it shows {seen:#}");
            Ok(seen)
        };
        wait_until(PATIENCE, &format!("the page shows {what}"), look).await.unwrap()
    }

    /// Waits until nothing on the page looks well, and the banner says so with these words.
    async fn knows_nothing(&self, words: &str) -> Value {
        let seen = self.shows(words, |seen| seen["alarm"].as_str().unwrap().contains(words)).await;
        assert_eq!(seen["green"], 0, "{seen:#}");
        let marks = seen["marks"].as_array().unwrap();
        assert!(!marks.is_empty() && marks.iter().all(|mark| mark == "unknown"), "{seen:#}");
        assert!(!seen["text"].as_str().unwrap().replace("counts as open", "").contains("open"), "{seen:#}");
        assert_eq!((&seen["strips"], &seen["spoken"]), (&0.into(), &"".into()), "{seen:#}");
        assert!(seen["title"].as_str().unwrap().starts_with('?'), "{seen:#}");
        seen
    }

    /// Pictures for people: on a wall and on a phone, light and dark.
    async fn pictures(&self, name: &str) {
        for (device, size) in [("wall", WALL), ("phone", PHONE)] {
            for scheme in ["light", "dark"] {
                self.browser.device(size, scheme).await.unwrap();
                assert_eq!(self.look().await.unwrap()["wide"], 0, "{name} scrolls sideways");
                assert_eq!(self.browser.run(CONTRAST).await.unwrap(), json!([]), "{name}, {device}, {scheme}");
                self.browser.picture(&format!("{name}-{device}-{scheme}")).await.unwrap();
            }
        }
    }

    async fn is_open(&self) -> Value {
        let seen = self.shows("an open gate", |seen| has(seen, "open")).await;
        assert!(seen["alarm"] == "" && seen["green"].as_u64() > Some(0), "{seen:#}");
        seen
    }
}

fn has(seen: &Value, mark: &str) -> bool {
    seen["marks"].as_array().unwrap().iter().any(|one| one == mark)
}

fn says(seen: &Value, words: &[&str]) {
    let text = seen["text"].as_str().unwrap();
    for word in words {
        assert!(text.contains(word), "no {word:?} in: {text}");
    }
}

#[tokio::test]
async fn a_soak_is_shown_with_what_it_needs_and_has() {
    let page = Page::open(LONG).await;
    switch(&page.verifier).await;
    reaches(&page.verifier, "pending").await;
    let seen = page.shows("a soak", |seen| has(seen, "pending")).await;
    says(&seen, &["product", "of 1h", "to go", "of 600 needed", "switched", "wait until the soak is served", "evaluated"]);
    let status = page.verifier.get("/v1/status").await.unwrap().json().unwrap();
    let hash = status["configHash"].as_str().unwrap();
    says(&seen, &[&hash[..8], status["version"].as_str().unwrap()]);
    assert_eq!(seen["spoken"], "Gates: move pending");
    let bars = page.browser.run("return [...document.querySelectorAll('progress')].map((bar) => bar.max)").await.unwrap();
    assert_eq!(bars, json!([3600, 600]));
}

#[tokio::test]
async fn a_closed_gate_shows_who_shut_it_since_when_why_and_what_to_do() {
    let page = Page::open(AT_ONCE).await;
    opened(&page.verifier).await;
    page.is_open().await;
    page.a.says("fail connection refused by 192.0.2.10:3100");
    let seen = page.shows("a closed gate", |seen| has(seen, "closed") && has(seen, "red")).await;
    says(
        &seen,
        &["In the way: 1 blocker", "told_to_fail", "since ", "connection refused by 192.0.2.10:3100", "Do: tell it to pass"],
    );
    assert_eq!(seen["spoken"], "Gates: move closed");

    page.browser.run("document.querySelector('button[data-probe=a]').click()").await.unwrap();
    let seen = page.shows("the last runs", |seen| seen["strips"] == 1).await;
    says(&seen, &["negative control", "last pass", "oldest first:", " fail"]);

    page.a.says("pass");
    page.is_open().await;
}

#[tokio::test]
async fn a_killed_verifier_leaves_nothing_that_looks_well() {
    let page = Page::open(AT_ONCE).await;
    opened(&page.verifier).await;
    page.browser.run("document.querySelector('button[data-probe=a]').click()").await.unwrap();
    page.shows("the last runs", |seen| seen["strips"] == 1).await;
    page.is_open().await;
    page.verifier.kill9().await.unwrap();
    let seen = page.knows_nothing("No answer from the verifier since ").await;
    let counted = page
        .shows("how long", |seen| {
            seen["alarm"].as_str().unwrap().contains(" (3s). It can not be reached. Nothing here counts as open.")
        })
        .await;
    says(&counted, &["get the verifier to answer again"]);
    let since = |seen: &Value| seen["alarm"].as_str().unwrap().split(" since ").nth(1).unwrap()[..8].to_owned();
    assert_eq!(since(&seen), since(&counted), "it counts from the last answer");
    page.verifier.start_again().await.unwrap();
    page.is_open().await;
}

#[tokio::test]
async fn a_frozen_verifier_leaves_nothing_that_looks_well() {
    let page = Page::open(AT_ONCE).await;
    opened(&page.verifier).await;
    page.is_open().await;
    page.verifier.freeze().await.unwrap();
    page.knows_nothing("It did not answer within 2.5 s").await;
    page.verifier.thaw();
    page.is_open().await;
}

/// A proxy's login page, another service, a verifier that does not get to run, an answer that can not be drawn.
#[tokio::test]
async fn an_answer_of_another_kind_is_no_answer() {
    let page = Page::open(AT_ONCE).await;
    opened(&page.verifier).await;
    let take = "window.real ??= window.fetch; window.fetch = async (path, options) => {
        const body = await (await window.real(path, options)).json();";
    for (answer, words) in [
        ("return new Response('<!doctype html><h1>Log in</h1>')", "does not speak JSON"),
        ("return new Response('null')", "is no verifier"),
        ("return new Response('{\"status\": \"ok\"}')", "is no verifier"),
        (
            "return Response.json({message: 'nothing was evaluated yet'}, {status: 503})",
            "It answers, but: nothing was evaluated yet",
        ),
        ("return Response.json({...body, ageSeconds: 3.5})", "its last evaluation is 3s old"),
        ("return Response.json({...body, ageSeconds: null})", "its last evaluation is an unknown time old"),
        ("return Response.json({...body, ageSeconds: '0'})", "its last evaluation is an unknown time old"),
        ("return Response.json({...body, ageSeconds: -1000})", "its last evaluation is"),
    ] {
        page.is_open().await;
        page.browser.run(&format!("{take} {answer} }}")).await.unwrap();
        page.knows_nothing(words).await;
        page.browser.run("window.fetch = window.real").await.unwrap();
    }
    page.is_open().await;
    // One question without an answer is enough: when it asks for the second time it has long said so.
    let count =
        "window.asked = (window.asked ?? 0) + 1; if (window.asked === 2) window.second = document.documentElement.className";
    page.browser.run(&format!("{take} {count}; return new Response('') }}")).await.unwrap();
    let second = async || Ok(page.browser.run("return window.second ?? null").await?.as_str().context("not yet")?.to_owned());
    assert_eq!(wait_until(PATIENCE, "the second question", second).await.unwrap(), "lost");
    page.browser.run("window.fetch = window.real").await.unwrap();

    page.is_open().await;
    page.browser.run(&format!("{take} return Response.json({{...body, phases: [...body.phases, null]}}) }}")).await.unwrap();
    let seen = page.shows("that it can not", |seen| seen["alarm"].as_str().unwrap().contains("that can not be shown")).await;
    assert_eq!((&seen["green"], &seen["marks"], &seen["title"]), (&0.into(), &json!([]), &"? phasegate".into()), "{seen:#}");
    page.browser.run("window.fetch = window.real").await.unwrap();
    page.is_open().await;
}

/// The monotonic clock of many machines stands still while they sleep, so the wall clock has a say as well.
#[tokio::test]
async fn a_page_that_slept_does_not_show_what_was() {
    let page = Page::open(AT_ONCE).await;
    opened(&page.verifier).await;
    page.is_open().await;
    // Its questions hang from now on, as those of a machine that wakes before its network does.
    page.verifier.freeze().await.unwrap();
    let woken = page
        .browser
        .run(
            "const now = Date.now; Date.now = () => now() + 3_600_000; document.dispatchEvent(new Event('visibilitychange'));
             return [document.documentElement.className, document.querySelector('#phases .mark').textContent]",
        )
        .await
        .unwrap();
    assert_eq!(woken, json!(["lost", "unknown"]), "in the same moment, before any answer");
    page.verifier.thaw();
    page.is_open().await;

    page.browser.hide(true).await.unwrap();
    page.knows_nothing("This page was not looked at").await;
    page.browser.requests().await.unwrap();
    page.browser.hide(false).await.unwrap();
    page.is_open().await;
}

#[tokio::test]
async fn hostile_evidence_is_text() {
    let page = Page::open(AT_ONCE).await;
    page.a.says(&format!("fail {HOSTILE}"));
    switch(&page.verifier).await;
    reaches(&page.verifier, "closed").await;
    page.shows("the evidence", |seen| has(seen, "closed")).await;
    page.browser.run("document.querySelector('button[data-probe=a]').click()").await.unwrap();
    let seen = page.shows("the last runs", |seen| seen["strips"] == 1).await;
    says(&seen, &[HOSTILE]);
    page.browser.picture("hostile").await.unwrap();
    let made = page.browser.run("return document.querySelectorAll('img, main script, main a, main h1').length").await.unwrap();
    assert_eq!((made, page.browser.run("return window.owned ?? null").await.unwrap()), (0.into(), Value::Null));
    let requests = page.browser.requests().await.unwrap();
    assert!(requests.len() > 2, "{requests:?}");
    for url in &requests {
        assert!(url.starts_with(page.verifier.url()) || url == "data:,", "{url} of {requests:?}");
    }
    assert_eq!(page.browser.console().await.unwrap(), Vec::<String>::new());

    // The second line of defence: were text ever taken for markup, the browser itself would refuse.
    page.browser.run("document.querySelector('main').innerHTML = '<b>bold</b>'").await.unwrap_err();
    let broken = page.browser.console().await.unwrap().concat();
    assert!(broken.contains("TrustedHTML"), "{broken}");
}

/// Four phases: one adopted, one complete, one that soaks, one that waits.
const STORY: &str = r"apiVersion: phasegate.dev/v1alpha1
kind: Migration
metadata: {name: homelab}
spec:
  defaults: {every: 500ms, timeout: 450ms, maxAge: 5s}
  targets: {}
  phases:
  - name: alloy
    gate: {soak: 0s, minSamples: 1, unknownBudget: 0s}
    probes:
    - {name: alloy-rollout, check: {scripted: {file: alloy-rollout.script}}}
    - {name: journal-to-docker-loki, check: {scripted: {file: journal.script}}}
  - name: loki
    gate: {soak: 0s, minSamples: 1, unknownBudget: 0s}
    probes:
    - {name: loki-ready, check: {scripted: {file: loki-ready.script}}}
    - {name: journal-to-k3s-loki, check: {scripted: {file: journal-new.script}}}
  - name: grafana
    gate: {soak: 1h, minSamples: 60, unknownBudget: 5m}
    probes:
    - {name: grafana-ready, check: {scripted: {file: grafana.script}}}
    - {name: dashboards-from-k3s-loki, check: {scripted: {file: panels.script}}}
    - {name: plugins, check: {scripted: {file: plugins.script}}}
  - name: postgres
    gate: {soak: 1h, minSamples: 60, unknownBudget: 5m}
    probes:
    - {name: postgres-ready, check: {scripted: {file: postgres.script}}}
    - {name: application-traffic, check: {scripted: {file: traffic.script}}}
";

#[tokio::test]
async fn a_whole_migration_with_an_exception_and_a_regression() {
    let world = World::new().unwrap();
    let files = STORY.replace("file: ", &format!("file: {}/", world.dir().display()));
    let (verifier, browser) = tokio::try_join!(Verifier::start_scripted(&world, &files), Browser::start(&world)).unwrap();
    browser.open(verifier.url()).await.unwrap();
    let page =
        Page { a: Script { name: "loki-ready", file: world.dir().join("loki-ready.script") }, verifier, browser, _world: world };
    let script = |name: &str| Script { name: "", file: page.a.file.with_file_name(name) };
    let tell = async |path: &str, body: Value| {
        let done = async || {
            let answer = page.verifier.post(path, &body).await?;
            ensure!([200, 201].contains(&answer.status), "{}: {}", answer.status, answer.body);
            Ok(())
        };
        wait_until(PATIENCE, path, done).await.unwrap();
    };
    tell("/v1/phases/alloy/adopt", json!({"reason": "moved by hand in March"})).await;
    for (phase, steps) in [("loki", ["begin", "switch", "complete"].as_slice()), ("grafana", &["begin", "switch"])] {
        for step in steps {
            tell(&format!("/v1/phases/{phase}/{step}"), json!({})).await;
        }
    }
    let soaks = |seen: &Value| has(seen, "pending") && seen["text"].as_str().unwrap().contains("Phase 3 of 4: grafana");
    let seen = page.shows("a soak", soaks).await;
    says(&seen, &["homelab", "adopted", "complete", "switched", "waiting", "of 60 needed"]);
    let order = "return [...document.querySelectorAll('.title')].map((title) => title.textContent)";
    assert_eq!(page.browser.run(order).await.unwrap(), json!(["alloy", "loki", "grafana", "postgres"]));
    page.pictures("migration-soaking").await;

    script("plugins.script").says("unknown");
    tell("/v1/overrides", json!({"probe": "plugins", "reason": "the plugin catalogue is down", "ttlSeconds": 3600})).await;
    let seen = page.shows("the exception", |seen| seen["text"].as_str().unwrap().contains("Override 0")).await;
    says(
        &seen,
        &[
            "probe plugins does not count for 59m 5",
            "by test-operate",
            "the plugin catalogue is down",
            "with overrides",
            "overridden",
        ],
    );

    page.a.says("fail 503 Service Unavailable: Ingester not ready: waiting for 15s after being ready");
    let seen = page.shows("a regression", |seen| seen["text"].as_str().unwrap().contains("Regression: ")).await;
    let advice = "mend it and say cutover regression ack loki --reason …";
    says(&seen, &["probe loki-ready of this complete phase went red", "Ingester not ready", advice, "of phase loki"]);
    page.pictures("migration-regressed").await;
    page.verifier.kill9().await.unwrap();
    page.knows_nothing("It can not be reached").await;
    says(&page.look().await.unwrap(), &["In the way before that", "was complete"]);
    page.pictures("migration-gone").await;
    page.verifier.start_again().await.unwrap();

    page.a.says("pass");
    tell("/v1/regressions/loki/ack", json!({"reason": "the disk was full"})).await;
    script("plugins.script").says("pass");
    tell("/v1/phases/grafana/rollback", json!({"reason": "again, with a short soak"})).await;
    page.verifier.write_migration(&files.replace("soak: 1h, minSamples: 60", "soak: 0s, minSamples: 1")).unwrap();
    page.verifier.reload();
    for phase in ["grafana", "postgres"] {
        for step in ["begin", "switch", "complete"] {
            tell(&format!("/v1/phases/{phase}/{step}"), json!({})).await;
        }
    }
    let seen = page.shows("the end", |seen| seen["text"].as_str().unwrap().contains("All phases complete")).await;
    says(&seen, &["nothing to do: every phase is complete", "every gate is still open"]);
    assert!(seen["marks"].as_array().unwrap().iter().all(|mark| mark == "open"), "{seen:#}");
    page.pictures("migration-complete").await;
}

#[tokio::test]
async fn long_words_do_not_break_it_on_a_phone() {
    let page = Page::open(LONG).await;
    switch(&page.verifier).await;
    page.shows("a soak", |seen| has(seen, "pending")).await;
    page.pictures("soaking").await;
    page.a.says(&format!("fail {}", "unbroken".repeat(120)));
    page.shows("a closed gate", |seen| has(seen, "closed")).await;
    page.browser.run("document.querySelector('button[data-probe=a]').click()").await.unwrap();
    page.shows("the last runs", |seen| seen["strips"] == 1).await;
    page.pictures("closed-long").await;
    page.verifier.kill9().await.unwrap();
    page.knows_nothing("It can not be reached").await;
    page.pictures("gone-long").await;
}

#[tokio::test]
async fn a_thousand_probes_are_bounded_with_the_troubled_ones_first() {
    let world = World::new().unwrap();
    let red = Script::new(&world, "zz-red");
    red.says("fail");
    let mut probes: Vec<_> =
        (0..1000).map(|n| format!("{{name: beat-{n}, check: {{heartbeat: {{within: 1h}}}}, every: 20s, maxAge: 1m}}")).collect();
    probes.push(red.probe());
    let probes: Vec<_> = probes.iter().map(String::as_str).collect();
    let document = migration(QUICK, "{}", AT_ONCE, &probes);
    let (verifier, browser) = tokio::try_join!(Verifier::start_scripted(&world, &document), Browser::start(&world)).unwrap();
    browser.open(verifier.url()).await.unwrap();
    let page = Page { a: red, verifier, browser, _world: world };
    let rows = "return [...document.querySelectorAll('.probe .name')].map((name) => name.firstChild.data.trim())";
    let seen = page.shows("most probes", |seen| has(seen, "red") && seen["text"].as_str().unwrap().contains("801 more")).await;
    assert!(seen["nodes"].as_u64() < Some(5000), "{} nodes", seen["nodes"]);
    let names = page.browser.run(rows).await.unwrap();
    assert_eq!((names.as_array().unwrap().len(), &names[0]), (200, &"zz-red".into()));
    let find = "const find = document.getElementById('find'); find.value = 'BEAT-77'; find.dispatchEvent(new Event('input'))";
    page.browser.run(find).await.unwrap();
    page.shows("what was looked for", |seen| !seen["text"].as_str().unwrap().contains("more are not shown")).await;
    let found = page.browser.run(rows).await.unwrap();
    let found: Vec<_> = found.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert_eq!(found.len(), 11, "{found:?}");
    assert!(found.iter().all(|name| name.starts_with("beat-77")), "{found:?}");
}

#[tokio::test]
async fn without_scripts_it_says_how_to_ask() {
    let page = Page::open(AT_ONCE).await;
    page.browser.devtools("Emulation.setScriptExecutionDisabled", &json!({"value": true})).await.unwrap();
    page.browser.open(page.verifier.url()).await.unwrap();
    let seen = page.browser.devtools("Accessibility.getFullAXTree", &json!({})).await.unwrap().to_string();
    assert!(
        seen.contains("Nothing here counts as open") && seen.contains("curl -f http://VERIFIER:9470/v1/gates/PHASE/check"),
        "{seen}"
    );
}
