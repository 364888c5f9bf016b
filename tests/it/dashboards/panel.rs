//! What panels and dashboards are made of, as Grafana 10 and later read them.

use serde_json::{Value, json};

/// The width of a dashboard.
const WIDTH: u64 = 24;

/// One panel; where it is, the dashboard says.
pub(super) struct Panel {
    json: Value,
    width: u64,
    height: u64,
}

impl Panel {
    fn new(kind: &str, title: &str, says: &str, (width, height): (u64, u64), options: Value) -> Self {
        let json = json!({
            "type": kind,
            "title": title,
            "description": says,
            "datasource": {"type": "prometheus", "uid": "${datasource}"},
            "fieldConfig": {"defaults": {"color": {"mode": "palette-classic"}, "custom": {}, "mappings": [], "unit": "short"}, "overrides": []},
            "options": options,
            "targets": [],
        });
        Self { json, width, height }
    }

    /// Lines over time.
    pub(super) fn lines(title: &str, says: &str, size: (u64, u64)) -> Self {
        let options = json!({
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": []},
            "tooltip": {"mode": "multi", "sort": "desc"},
        });
        let mut panel = Self::new("timeseries", title, says, size, options);
        panel.json["fieldConfig"]["defaults"]["custom"] = json!({
            "drawStyle": "line", "lineWidth": 1, "fillOpacity": 10, "showPoints": "never", "spanNulls": false, "stacking": {"mode": "none"},
        });
        panel.json["fieldConfig"]["defaults"]["min"] = 0.into();
        panel
    }

    /// Bars over time, one on the other.
    pub(super) fn bars(title: &str, says: &str, size: (u64, u64)) -> Self {
        let mut panel = Self::lines(title, says, size);
        let custom = &mut panel.json["fieldConfig"]["defaults"]["custom"];
        custom["drawStyle"] = "bars".into();
        custom["fillOpacity"] = 80.into();
        custom["stacking"]["mode"] = "normal".into();
        panel
    }

    /// A colour over time, one line for each series: the first state is 1.
    pub(super) fn states(title: &str, says: &str, size: (u64, u64), states: &[(&str, &str)]) -> Self {
        let options = json!({
            "mergeValues": true, "showValue": "never", "rowHeight": 0.85, "alignValue": "left",
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": true},
            "tooltip": {"mode": "single", "sort": "none"},
        });
        let mut panel = Self::new("state-timeline", title, says, size, options);
        panel.json["fieldConfig"]["defaults"]["custom"] = json!({"fillOpacity": 80, "lineWidth": 0});
        panel.json["fieldConfig"]["defaults"]["color"]["mode"] = "thresholds".into();
        panel.mapped(states)
    }

    /// Numbers in large.
    pub(super) fn numbers(title: &str, says: &str, size: (u64, u64)) -> Self {
        let options = json!({
            "colorMode": "value", "graphMode": "none", "justifyMode": "auto", "orientation": "auto", "textMode": "auto",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": false},
        });
        Self::new("stat", title, says, size, options)
    }

    /// How far something is.
    pub(super) fn gauges(title: &str, says: &str, size: (u64, u64)) -> Self {
        let options = json!({
            "displayMode": "basic", "orientation": "horizontal", "showUnfilled": true, "minVizHeight": 10, "minVizWidth": 0,
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": false},
        });
        let mut panel = Self::new("bargauge", title, says, size, options)
            .unit("percentunit")
            .steps(&[("yellow", None), ("green", Some(1.0))]);
        panel.json["fieldConfig"]["defaults"]["min"] = 0.into();
        panel.json["fieldConfig"]["defaults"]["max"] = 1.into();
        panel
    }

    /// How many looks took how long.
    pub(super) fn heatmap(title: &str, says: &str, size: (u64, u64)) -> Self {
        let options = json!({
            "calculate": false, "cellGap": 1, "color": {"mode": "scheme", "scheme": "Oranges", "steps": 64, "exponent": 0.5},
            "yAxis": {"axisPlacement": "left", "unit": "s"}, "rowsFrame": {"layout": "auto"}, "showValue": "never",
            "legend": {"show": true}, "tooltip": {"show": true, "yHistogram": false}, "filterValues": {"le": 1e-9},
        });
        Self::new("heatmap", title, says, size, options)
    }

    /// Rows of what is so now; the labels are columns.
    pub(super) fn table(title: &str, says: &str, size: (u64, u64), value: &str) -> Self {
        let mut panel = Self::new("table", title, says, size, json!({"showHeader": true, "cellHeight": "sm"}));
        panel.json["transformations"] = json!([
            {"id": "organize", "options": {"excludeByName": {"Time": true}, "renameByName": {"Value": value}}},
        ]);
        panel
    }

    /// What phasegate has marked: who did what, and when.
    pub(super) fn marks(title: &str, says: &str, size: (u64, u64)) -> Self {
        let options = json!({
            "tags": ["phasegate"], "limit": 20, "showTags": false, "showTime": true, "showUser": false, "onlyFromThisDashboard": false,
            "onlyInTimeRange": false, "navigateToPanel": false, "navigateBefore": "10m", "navigateAfter": "10m",
        });
        let mut panel = Self::new("annolist", title, says, size, options);
        panel.json["datasource"] = json!({"type": "grafana", "uid": "-- Grafana --"});
        panel
    }

    /// One more query, named by this legend.
    #[must_use]
    pub(super) fn query(mut self, expr: &str, legend: &str) -> Self {
        let kind = self.json["type"].as_str().unwrap_or_default();
        let (instant, format) = match kind {
            "table" => (true, "table"),
            "stat" | "bargauge" => (true, "time_series"),
            "heatmap" => (false, "heatmap"),
            _ => (false, "time_series"),
        };
        let targets = self.json["targets"].as_array_mut().unwrap();
        let letter = char::from(b"ABCDEFGH"[targets.len()]).to_string();
        targets.push(json!({
            "refId": letter, "datasource": {"type": "prometheus", "uid": "${datasource}"}, "editorMode": "code",
            "expr": expr, "legendFormat": legend, "instant": instant, "range": !instant, "format": format,
        }));
        self
    }

    #[must_use]
    pub(super) fn unit(mut self, unit: &str) -> Self {
        self.json["fieldConfig"]["defaults"]["unit"] = unit.into();
        self
    }

    /// The colours from these values on.
    #[must_use]
    pub(super) fn steps(mut self, steps: &[(&str, Option<f64>)]) -> Self {
        let steps: Vec<_> = steps.iter().map(|(color, value)| json!({"color": color, "value": value})).collect();
        let defaults = &mut self.json["fieldConfig"]["defaults"];
        defaults["color"]["mode"] = "thresholds".into();
        defaults["thresholds"] = json!({"mode": "absolute", "steps": steps});
        self
    }

    /// Words and colours for 1, 2 and so on.
    #[must_use]
    pub(super) fn mapped(mut self, states: &[(&str, &str)]) -> Self {
        let option = |(at, (text, color)): (usize, &(&str, &str))| {
            ((at + 1).to_string(), json!({"text": text, "color": color, "index": at}))
        };
        let options: serde_json::Map<String, Value> = states.iter().enumerate().map(option).collect();
        self.json["fieldConfig"]["defaults"]["mappings"] = json!([{"type": "value", "options": options}]);
        self
    }

    /// One such panel for each value of a variable.
    #[must_use]
    pub(super) fn for_each(mut self, variable: &str) -> Self {
        self.json["repeat"] = variable.into();
        self.json["repeatDirection"] = "h".into();
        self.json["maxPerRow"] = 2.into();
        self
    }
}

/// A variable whose values are those of a label.
pub(super) fn label_variable(name: &str, label: &str, query: &str, many: bool) -> Value {
    let query = format!("label_values({query}, {label})");
    let mut variable = json!({
        "type": "query", "name": name, "label": name, "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "definition": query, "query": {"query": query, "refId": name}, "refresh": 2, "sort": 1, "hide": 0, "regex": "",
        "multi": many, "includeAll": many,
    });
    if many {
        variable["current"] = json!({"text": ["All"], "value": ["$__all"]});
    }
    variable
}

/// A whole dashboard: rows of panels under their titles.
pub(super) fn dashboard(uid: &str, title: &str, says: &str, variables: Vec<Value>, rows: Vec<(&str, Vec<Panel>)>) -> Value {
    let mut panels = Vec::new();
    let mut top = 0;
    for (row, members) in rows {
        panels.push(json!({"type": "row", "title": row, "collapsed": false, "panels": [], "gridPos": {"x": 0, "y": top, "w": WIDTH, "h": 1}}));
        top += 1;
        let (mut left, mut height) = (0, 0);
        for mut panel in members {
            if left + panel.width > WIDTH {
                (left, top, height) = (0, top + height, 0);
            }
            panel.json["gridPos"] = json!({"x": left, "y": top, "w": panel.width, "h": panel.height});
            (left, height) = (left + panel.width, height.max(panel.height));
            panels.push(panel.json);
        }
        top += height;
    }
    for (at, panel) in panels.iter_mut().enumerate() {
        panel["id"] = (at + 1).into();
    }
    let datasource = json!({
        "type": "datasource", "name": "datasource", "label": "datasource", "query": "prometheus", "refresh": 1, "hide": 0, "regex": "",
        "multi": false, "includeAll": false,
    });
    let page = json!({
        "type": "textbox", "name": "page", "label": "verifier's page", "query": "http://127.0.0.1:9470", "hide": 0,
        "current": {"text": "http://127.0.0.1:9470", "value": "http://127.0.0.1:9470"},
    });
    let job = label_variable("job", "job", "phasegate_ledger_queue_depth", false);
    let variables: Vec<_> = [datasource, job].into_iter().chain(variables).chain([page]).collect();
    json!({
        "id": null,
        "uid": uid,
        "title": title,
        "description": says,
        "tags": ["phasegate"],
        "schemaVersion": 38,
        "version": 1,
        "editable": true,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "",
        "fiscalYearStartMonth": 0,
        "liveNow": false,
        "annotations": {"list": [{
            "name": "phases", "enable": true, "hide": false, "iconColor": "blue", "type": "tags",
            "datasource": {"type": "grafana", "uid": "-- Grafana --"},
            "target": {"type": "tags", "tags": ["phasegate"], "matchAny": false, "limit": 100},
        }]},
        "links": [
            {"title": "phasegate", "type": "dashboards", "tags": ["phasegate"], "asDropdown": false, "includeVars": true, "keepTime": true, "icon": "external link", "targetBlank": false, "tooltip": "", "url": ""},
            {"title": "the verifier's page", "type": "link", "tags": [], "asDropdown": false, "includeVars": false, "keepTime": false, "icon": "external link", "targetBlank": true, "tooltip": "", "url": "${page}"},
        ],
        "templating": {"list": variables},
        "panels": panels,
    })
}
