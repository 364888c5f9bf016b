//! Steps on the page: where each stands and who moved it there, who holds the lock, and that nothing leads back any more.

use super::*;

/// A phase of four steps: the second is the switch, the third the point of no return.
const STEPS: &str = "    steps:
    - {name: deploy-alloy, do: ['true'], undo: ['true'], timeout: 10m}
    - {name: retire-promtail, do: ['true'], undo: ['true'], switch: true, verify: [a], timeout: 5m}
    - {name: drop-the-old-volume, do: ['true'], ponr: true, timeout: 5m}
    - {name: tell-the-users, manual: tell them}
";

struct Operator<'a> {
    page: &'a Page,
    terms: Value,
}

impl Operator<'_> {
    async fn tell(&self, path: &str, body: Value) {
        let done = async || {
            let answer = self.page.verifier.post(path, &body).await?;
            ensure!([200, 201].contains(&answer.status), "{}: {}", answer.status, answer.body);
            Ok(())
        };
        wait_until(PATIENCE, path, done).await.unwrap();
    }

    async fn starts(&self, step: &str) {
        self.tell(&format!("/v1/phases/move/steps/{step}/start"), json!({"way": "do", "checked": true, "terms": self.terms}))
            .await;
    }

    async fn ends(&self, step: &str, end: &str, note: &str) {
        if end == "done" {
            self.tell(&format!("/v1/phases/move/steps/{step}/worked"), json!({"terms": self.terms})).await;
        }
        let body = json!({"end": end, "note": note, "terms": self.terms});
        self.tell(&format!("/v1/phases/move/steps/{step}/end"), body).await;
    }
}

#[tokio::test]
async fn steps_are_shown_with_where_they_stand_and_who_holds_the_lock() {
    let world = World::new().unwrap();
    let a = Script::new(&world, "a");
    let document = migration(QUICK, "{}", LONG, &[&a.probe()]) + STEPS;
    let (verifier, browser) = tokio::try_join!(Verifier::start_scripted(&world, &document), Browser::start(&world)).unwrap();
    browser.open(&format!("{}/", verifier.url())).await.unwrap();
    let page = Page { a, verifier, browser, _world: world };
    let hash = page.verifier.get("/v1/status").await.unwrap().json().unwrap()["configHash"].clone();
    let nobody = Operator { page: &page, terms: json!({}) };
    nobody.tell("/v1/phases/move/begin", json!({})).await;
    let seen = page.shows("what is planned", |seen| has(seen, "planned")).await;
    says(&seen, &["Steps: 0 of 4 done", "deploy-alloy", "switch", "point of no return", "by hand", "no undo"]);
    let order = "return [...document.querySelectorAll('.step .name')].map((name) => name.firstChild.data)";
    let names = json!(["deploy-alloy", "retire-promtail", "drop-the-old-volume", "tell-the-users"]);
    assert_eq!(page.browser.run(order).await.unwrap(), names);

    // But for the word that must not be seen when nothing is known.
    let hostile = HOSTILE.replace("open", "shut");
    let place = format!("desk {hostile}");
    let taken = page.verifier.post("/v1/lock", &json!({"phase": "move", "place": place, "ttlSeconds": 600})).await.unwrap();
    let id = taken.json().unwrap()["id"].clone();
    let operator = Operator { page: &page, terms: json!({"lock": id, "document": hash, "confirm": "move"}) };
    operator.starts("deploy-alloy").await;
    let seen = page.shows("a step that runs", |seen| has(seen, "running")).await;
    says(
        &seen,
        &[
            "test-operate holds it for phase move, on desk <img",
            "last heard of",
            "Step 1 of 4: deploy-alloy",
            "at most 10m",
            " by test-operate",
        ],
    );
    page.pictures("steps-running").await;
    operator.ends("deploy-alloy", "done", "").await;
    operator.starts("retire-promtail").await;
    page.shows("that it switches", |seen| seen["text"].as_str().unwrap().contains("switching")).await;
    operator.ends("retire-promtail", "failed", &format!("it exited with 3: {hostile}")).await;
    let seen = page.shows("a step that failed", |seen| has(seen, "failed")).await;
    says(&seen, &["Steps: 1 of 4 done", "Step 2 of 4: retire-promtail", "it exited with 3: <img src=http://203.0.113.7/x.png"]);
    operator.starts("retire-promtail").await;
    operator.ends("retire-promtail", "done", "").await;
    operator.starts("drop-the-old-volume").await;
    let seen = page.shows("the point of no return", |seen| seen["text"].as_str().unwrap().contains("nothing leads back")).await;
    says(&seen, &["Point of no return crossed at ", "Steps: 2 of 4 done", "attempt 2", "Step 3 of 4: drop-the-old-volume"]);
    page.pictures("steps-crossed").await;

    let made = page.browser.run("return document.querySelectorAll('img, main script, main a, main h1').length").await.unwrap();
    assert_eq!((made, page.browser.run("return window.owned ?? null").await.unwrap()), (0.into(), Value::Null));
    assert_eq!(page.browser.console().await.unwrap(), Vec::<String>::new());

    page.verifier.kill9().await.unwrap();
    let seen = page.knows_nothing("It can not be reached").await;
    says(&seen, &["was done", "was running", "test-operate held it for phase move"]);
    let text = seen["text"].as_str().unwrap();
    assert!(!text.contains("2 of 4 done") && !text.contains("Step 3 of 4") && !text.contains("last heard of"), "{text}");
    page.pictures("steps-gone").await;
}
