use std::collections::BTreeSet;

use super::*;

fn all() -> impl Iterator<Item = Family> {
    TASK.into_iter().chain(PROVIDER).chain(PROCESS).chain(PROBE)
}

#[test]
fn names_are_unique_and_fit_the_type() {
    let names: BTreeSet<_> = all().map(|family| family.name).collect();
    assert_eq!(names.len(), all().count());
    for Family { name, kind, labels, help, buckets } in all() {
        assert_eq!(name.ends_with("_total"), kind == Kind::Counter, "{name}");
        assert_eq!(buckets.is_empty(), kind != Kind::Histogram, "{name}");
        assert!(buckets.is_sorted() && !labels.contains(&"le"), "{name}");
        assert!(help.ends_with('.') && !help.contains(['|', '\n', '\\']), "{name}");
    }
}

#[test]
fn labels_of_a_group_begin_alike() {
    assert!(TASK.iter().all(|family| family.labels.starts_with(&["provider", "task_id"])));
    assert!(PROVIDER.iter().all(|family| family.labels.starts_with(&["provider"])));
    let ours = ["task_id", "le", "status_code", "version"];
    assert!(ours.into_iter().all(has_label) && !has_label("team"));
}
