//! What the verifier writes into the status of a Migration.

use serde_json::{Value, json};

pub(super) fn schema() -> Value {
    let text = |description: &str| json!({"type": "string", "description": description});
    let condition = json!({
        "type": "object",
        "required": ["type", "status", "reason", "message", "lastTransitionTime"],
        "properties": {
            "type": {"type": "string", "maxLength": 316},
            "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
            "reason": {"type": "string", "maxLength": 1024},
            "message": {"type": "string", "maxLength": 32768},
            "lastTransitionTime": {"type": "string", "format": "date-time"},
            "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0},
        },
    });
    json!({
        "type": "object",
        "description": "What the verifier sees, written by it alone. It can not say that the verifier has died since: only its API tells its age.",
        "properties": {
            "observedGeneration": {"type": "integer", "format": "int64", "description": "The generation that is in force."},
            "configHash": text("Hash of the document in force."),
            "verifier": text("Who wrote this: one process of the verifier."),
            "phase": text("The active phase, or the next one."),
            "phaseState": text("waiting, active or complete."),
            "verdict": text("Of that phase's gate: open, closed, pending or unknown."),
            "reason": text("Why, in one line."),
            "next": text("What to do next."),
            "conditions": {
                "type": "array",
                "description": "`<Phase>GateOpen` and `<Phase>Complete` for each phase, `Regressed`, and `Accepted` for the document.",
                "items": condition,
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["type"],
            },
        },
    })
}
