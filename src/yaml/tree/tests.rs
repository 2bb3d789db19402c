use super::*;

#[test]
fn aliases_add_little_text() {
    let aliases = ", *a".repeat(100);
    for scalar in ["x".repeat(1 << 20), format!("1.{}", "0".repeat(1 << 20))] {
        let error = parse(&format!("[&a {scalar}{aliases}]"), 0).unwrap_err();
        assert_eq!(error.message, TOO_MANY);
        assert!(parse(&format!("[&a {scalar}, *a, *a]"), 0).is_ok());
    }
    assert!(parse(&format!("[\"{}\"]", "\\L".repeat(1 << 20)), 0).is_ok());
}

#[test]
fn aliases_have_ends() {
    let anchors: Vec<_> = (0..=MAX_ANCHORS).map(|n| format!("&a{n} x")).collect();
    let anchors = anchors.join(", ");
    for (text, message) in [
        ("a: &a { b: *a }".to_owned(), TOO_MANY),
        (format!("a: &a [{}]\nb: *a", "x, ".repeat(MAX_KEPT_NODES)), TOO_MANY),
        (format!("[{anchors}]"), "more than 10000 anchors"),
    ] {
        assert_eq!(parse(&text, 0).unwrap_err().message, message);
    }
    assert!(parse("a: &a { b: &b c, d: *b }\ne: [*a, *b]", 0).is_ok());
}

/// What the parts of a long list are together does not count as one tree.
#[test]
fn a_long_list_is_no_tree() {
    let list = format!("[{}{{ id: y }}]", "x, ".repeat(MAX_TREE_NODES));
    let error = parse(&list, 0).unwrap_err();
    assert_eq!(error.message, "more keys and values than a configuration has");
    let sections = format!("a: &b [1]\ntasks: {list}\nother: *b\ntasks: [z]\n");
    for (text, long) in [(&list, LongList::Root), (&sections, LongList::Section("tasks"))] {
        let mut count = 0;
        for_each_item(text, 0, long, &mut |_| count += 1);
        assert_eq!(count, MAX_TREE_NODES + 1);
        let root = outline(text, 0, long).unwrap();
        let list = if long == LongList::Root { &root } else { root.get("tasks").unwrap() };
        assert!(matches!(&list.kind, NodeKind::List(items) if items.is_empty()));
        // Its items are read nevertheless.
        let broken = text.replace("{ id: y }", "!x y");
        assert!(outline(&broken, 0, long).unwrap_err().message.contains("tags"));
    }
    // The one of an alias is in the tree.
    let root = outline("a: &b [1]\ntasks: *b\n", 0, LongList::Section("tasks")).unwrap();
    assert!(matches!(&root.get("tasks").unwrap().kind, NodeKind::List(items) if items.len() == 1));
}

#[test]
fn scalars_stand_for_what_the_core_schema_says() {
    for (text, name) in [
        ("~", "nothing"),
        ("Null", "nothing"),
        ("true", "true or false"),
        ("yes", "text"),
        ("15", "a number"),
        ("-1.5e3", "a number"),
        ("+.5", "a number"),
        ("0x1F", "a number"),
        ("0b102", "text"),
        ("007", "text"),
        ("0.7", "a number"),
        ("99999999999999999999999999", "a number"),
        (".inf", "a number"),
        ("inf", "text"),
        ("nan", "text"),
        ("+-1", "text"),
        ("1_000", "text"),
        ("12:30", "text"),
    ] {
        let root = parse(&format!("[{text}, \"{text}\", !!str {text}]"), 0).unwrap();
        let NodeKind::List(items) = root.kind else { panic!("{text}") };
        let names: Vec<_> = items.iter().map(YamlNode::kind_name).collect();
        assert_eq!(names, [name, "text", "text"], "{text}");
    }
}

#[test]
fn nodes_know_where_they_stand() {
    let text =
        "a: &x b\nc:\n  - |-\n    d\n  - \"é\\\n     f\"\ng: &y\nh: { i, ? j }\r\nk: >\r\n l\r\n";
    let mut found = Vec::new();
    collect(&parse(text, 0).unwrap(), text, &mut found);
    assert_eq!(
        found,
        [
            ((1, 1), "a"),
            ((1, 4), "&x b"),
            ((2, 1), "c"),
            ((3, 5), "|-\n    d"),
            ((5, 5), "\"é\\\n     f\""),
            ((7, 1), "g"),
            ((7, 4), "&y"),
            ((8, 1), "h"),
            ((8, 6), "i"),
            ((8, 7), ""),
            ((8, 11), "j"),
            ((8, 13), ""),
            ((9, 1), "k"),
            ((9, 4), ">\r\n l"),
        ]
    );
}

fn collect<'t>(node: &YamlNode, text: &'t str, found: &mut Vec<((u32, u32), &'t str)>) {
    match &node.kind {
        NodeKind::List(items) => items.iter().for_each(|node| collect(node, text, found)),
        NodeKind::Map(entries) => entries.iter().for_each(|(key, value)| {
            collect(key, text, found);
            collect(value, text, found);
        }),
        _ => {
            let Position::LineColumn(line, column) = node.location.position else {
                panic!("{node:?}")
            };
            found.push(((line, column), node.bytes.of(text).unwrap().trim_end()));
        }
    }
}
