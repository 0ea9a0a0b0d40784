use std::sync::Arc;

use serde_json::{Value, json};

use super::{KEY, rewrite_one};
use crate::{
    At, ClassSet, Classes, ColumnPlan, MaskKind, Opaque, Planner, TypedMask, Unclassified, UnclassifiedColumn, check,
};

fn settings() -> Value {
    json!({"version": 1, "classes": [
        {"name": "ssn", "columns": ["shop:public.customers.ssn", "shop:*.employees.ssn"], "detect": ["us_ssn"],
         "mask": {"keep_last": 4}},
        {"name": "card", "columns": ["*:public.pay*.card_number"], "detect": ["payment_card"], "mask": {"replace": "****"}},
        {"name": "email", "columns": ["shop:*.*.email"], "detect": ["email", "us_ssn"],
         "mask": {"hmac": {"key": KEY, "id": "k1"}}},
        {"name": "odd", "columns": ["shop:\"My.Schema\".\"T\"\"x\".\"*\""], "mask": {"null": true}},
        {"name": "pii", "columns": ["shop:public.customers.*"], "mask": {"full": true}},
    ]})
}

#[test]
fn columns_find_their_classes() {
    let classes = Classes::load(&settings()).unwrap();
    let names = |target, schema, table, column| {
        let set = classes.column(target, schema, table, column);
        set.iter().map(|class| classes.name(class)).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names("shop", "public", "customers", "ssn"), "ssn pii");
    assert_eq!(names("shop", "hr", "employees", "ssn"), "ssn");
    assert_eq!(names("shop", "HR", "Employees", "SSN"), "ssn");
    assert_eq!(names("other", "hr", "employees", "ssn"), "");
    assert_eq!(names("other", "public", "payments_2024", "card_number"), "card");
    assert_eq!(names("shop", "x", "y", "email"), "email");
    assert_eq!(names("shop", "x", "y", "email2"), "");
    assert_eq!(names("shop", "My.Schema", "T\"x", "*"), "odd");
    assert_eq!(names("shop", "my.schema", "T\"x", "*"), "");
    assert_eq!(names("shop", "public", "customers", "name"), "pii");
    assert!(classes.concern("shop") && classes.concern("anything"));
    assert!(!Classes::default().concern("shop"));
}

#[test]
fn the_strictest_mask_counts_until_all_are_revealed() {
    let classes = Classes::load(&settings()).unwrap();
    let ssn = classes.column("shop", "public", "customers", "ssn");
    let mask = |reveal: &[&str]| classes.mask(&ssn, &classes.reveal(reveal.iter().copied())).cloned();
    assert!(matches!(mask(&[]), Some(MaskKind::Full)));
    assert!(matches!(mask(&["pii"]), Some(MaskKind::KeepLast(4))));
    assert!(matches!(mask(&["ssn", "unknown"]), Some(MaskKind::Full)));
    assert!(mask(&["ssn", "pii"]).is_none());
    let email = classes.column("shop", "x", "y", "email");
    assert_eq!(ssn.union(&email).iter().count(), 3);
    assert!(!ssn.is_empty() && classes.column("a", "b", "c", "d").is_empty());
}

#[test]
fn detectors_follow_the_classes_that_list_them() {
    let classes = Classes::load(&settings()).unwrap();
    let found = |reveal: &[&str]| {
        let detectors = classes.detectors(&classes.reveal(reveal.iter().copied())).unwrap();
        detectors.map(|detectors| {
            let masked = detectors.masked(b"123-45-6789 4111111111111111 (555) 123-4567");
            String::from_utf8(masked.unwrap_or_default()).unwrap()
        })
    };
    // Two classes list us_ssn; a pseudonym shows less than four characters. No class lists phone.
    let all = found(&[]).unwrap();
    assert!(all.starts_with("k1:") && all.ends_with(" **** (555) 123-4567"), "{all}");
    assert_eq!(found(&["email"]).unwrap(), "****6789 **** (555) 123-4567");
    assert_eq!(found(&["email", "ssn"]).unwrap(), "123-45-6789 **** (555) 123-4567");
    assert_eq!(found(&["email", "ssn", "card"]), None);
}

#[test]
fn every_mistake_is_told_with_its_place() {
    let wrong = json!({"classes": [
        {"name": "a", "columns": ["shop:public.customers.ssn"], "mask": {"full": true}},
        {"name": "a", "columns": ["public.customers.ssn", 4], "mask": {"full": true}},
        {"columns": ["shop:a.b"], "detect": ["us_snn"], "mask": {"full": 1}, "reveal": []},
        {"name": "c", "mask": {"full": true}},
        {"name": "d", "columns": "shop:a.b.c"},
        7,
    ], "targets": [{"name": "x"}, {"unclassified": {"default": "allow", "except": ["a.b"]}}]});
    let problems = check(&wrong);
    let places: Vec<_> =
        problems.iter().map(|problem| serde_json::to_value(problem).unwrap()["where"].to_string()).collect();
    for place in [
        r#"["classes",1,"name"]"#,
        r#"["classes",1,"columns",0]"#,
        r#"["classes",1,"columns",1]"#,
        r#"["classes",2,"name"]"#,
        r#"["classes",2,"columns",0]"#,
        r#"["classes",2,"detect",0]"#,
        r#"["classes",2,"mask"]"#,
        r#"["classes",2,"reveal"]"#,
        r#"["classes",3]"#,
        r#"["classes",4,"columns"]"#,
        r#"["classes",4,"mask"]"#,
        r#"["classes",5,"name"]"#,
        r#"["targets",1,"unclassified","default"]"#,
        r#"["targets",1,"unclassified","except",0]"#,
    ] {
        assert!(places.iter().any(|known| known == place), "{place} is missing in {places:?}");
    }
    assert!(problems.iter().all(|problem| !problem.message.is_empty() && !problem.hint.is_empty()));
    assert!(problems.iter().any(|problem| problem.at == [At::from("classes"), At::Index(1), At::from("name")]));
    assert!(check(&settings()).is_empty());
    assert!(check(&json!({})).is_empty());
    assert_eq!(check(&json!({"classes": {}})).len(), 1);
}

#[test]
fn columns_in_no_class() {
    let load = |value: Value| Unclassified::load(Some(&value), &[]).unwrap();
    let some = load(json!({"default": "refuse", "except": ["public.t.col", "log.*.*"]}));
    assert_eq!(some.column("public", "t", "col"), UnclassifiedColumn::Pass);
    assert_eq!(some.column("log", "x", "y"), UnclassifiedColumn::Pass);
    assert_eq!(some.column("public", "t", "other"), UnclassifiedColumn::Refuse);
    assert_eq!(some.derived(), UnclassifiedColumn::Refuse);
    assert_eq!(load(json!("pass")).derived(), UnclassifiedColumn::Pass);
    assert_eq!(load(json!({"default": "mask"})).derived(), UnclassifiedColumn::Mask);
    assert_eq!(Unclassified::load(None, &[]).unwrap().derived(), UnclassifiedColumn::Scan);
}

#[test]
fn patterns_with_many_stars_end() {
    let settings = json!({"classes": [{"name": "a", "columns": [format!("{}b:x.y.z", "*a".repeat(200))],
        "mask": {"full": true}}]});
    let classes = Classes::load(&settings).unwrap();
    assert!(classes.column(&"a".repeat(20_000), "x", "y", "z").is_empty());
    assert!(!classes.column(&("a".repeat(20_000) + "b"), "x", "y", "z").is_empty());
}

#[test]
fn a_class_whose_mask_has_no_value_of_the_type_is_told_apart() {
    let classes = Classes::load(&settings()).unwrap();
    let set = classes.column("shop", "hr", "employees", "ssn");
    let mask = classes.mask(&set, &classes.reveal([])).unwrap();
    assert!(TypedMask::for_type(mask, 25).is_some());
    assert!(TypedMask::for_type(mask, 20).is_none());
}

#[test]
fn a_planner_joins_what_is_known() {
    let classes = Arc::new(Classes::load(&settings()).unwrap());
    let planner = |reveal: &[&str], rest: Value| {
        let reveals = classes.reveal(reveal.iter().copied());
        let unclassified = Arc::new(Unclassified::load(Some(&rest), &[]).unwrap());
        Planner::new(Arc::clone(&classes), reveals, unclassified, Opaque::Scan).unwrap()
    };
    let ssn = classes.column("shop", "hr", "employees", "ssn");
    let none = ClassSet::default();
    let plain = planner(&[], json!("scan"));
    assert!(matches!(plain.column(&ssn, "hr", "employees", "ssn", 25), ColumnPlan::Mask(_)));
    assert!(matches!(plain.column(&ssn, "hr", "employees", "ssn", 20), ColumnPlan::Refuse));
    assert!(matches!(plain.column(&none, "a", "b", "c", 25), ColumnPlan::Scan(_)));
    assert!(matches!(plain.column(&none, "a", "b", "c", 20), ColumnPlan::Pass));
    assert!(matches!(plain.hidden(1184), ColumnPlan::Mask(mask) if mask.is_null()));
    let ColumnPlan::Mask(derived) = plain.derived(&ssn, 25) else { panic!("not masked") };
    assert_eq!(rewrite_one(ColumnPlan::Mask(derived), 0, b"123-45-6789"), Some(Some(b"****".to_vec())));
    assert!(matches!(plain.clean(25), ColumnPlan::Scan(_)));

    let open = planner(&["ssn"], json!({"default": "mask", "except": ["a.b.c"]}));
    assert!(matches!(open.column(&ssn, "hr", "employees", "ssn", 25), ColumnPlan::Pass));
    assert!(matches!(open.column(&none, "a", "b", "c", 25), ColumnPlan::Pass));
    assert!(matches!(open.column(&none, "a", "b", "d", 25), ColumnPlan::Mask(_)));
    assert!(matches!(open.derived(&ssn, 25), ColumnPlan::Mask(_)));
    assert!(matches!(planner(&[], json!("refuse")).clean(25), ColumnPlan::Refuse));
    assert!(matches!(planner(&[], json!("pass")).clean(25), ColumnPlan::Pass));
    let blind = planner(&["ssn", "email", "card"], json!("scan"));
    assert!(blind.detectors().is_none() && plain.detectors().is_some());
    assert!(matches!(blind.clean(25), ColumnPlan::Pass));
}
