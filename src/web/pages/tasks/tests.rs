use super::*;

fn page(before: u64, shown: usize, total: u64, tracked: &crate::record::TrackedTask) -> String {
    let row = TaskRow::new(tracked, std::time::Duration::MAX, Timestamp::from_micros(0));
    let page = ListPage { rows: vec![row; shown], total, before, previous: None, next: None };
    let by_age = TaskOrder { column: SortColumn::Age, is_descending: true };
    [summary(&page, TaskOrder::WORST_FIRST), summary(&page, by_age)].join(" | ")
}

#[test]
fn the_summary_says_which_tasks_are_shown() {
    let tracked = crate::record::tests::tracked();
    for (before, shown, total, expected) in [
        (0, 1, 1, "1 task. | 1 task."),
        (0, 2, 2, "2 tasks, the worst first. | 2 tasks, sorted by age, descending."),
        (0, 2, 3, "The 2 worst of 3 tasks. | Tasks 1 to 2 of 3, sorted by age, descending."),
        (
            1_200,
            2,
            1_202,
            "Tasks 1,201 to 1,202 of 1,202, the worst first. | Tasks 1,201 to 1,202 of 1,202, sorted by age, descending.",
        ),
    ] {
        assert_eq!(page(before, shown, total, &tracked), expected);
    }
}
