use super::*;

fn number(first: u32, size: Option<usize>) -> Paging {
    let next = NextPage::Number { query: "p".into(), first, step: 1 };
    Paging { next, size: size.map(|size| ("n".into(), size)), max_pages: 4, is_window: false }
}

fn cursor(has_flag: bool) -> Paging {
    Paging {
        next: NextPage::Cursor { query: "after".into(), has_flag },
        size: None,
        max_pages: 4,
        is_window: false,
    }
}

fn url() -> Paging {
    Paging { next: NextPage::Url, size: Some(("n".into(), 9)), max_pages: 4, is_window: false }
}

fn text(text: &'static str) -> FieldValue<'static> {
    FieldValue::Text(text.into())
}

/// A page with a hash of its own.
fn page(elements: usize, hash: u64) -> PageSummary {
    PageSummary { elements, hash, ..PageSummary::default() }
}

/// Returns the path and query of each page of a list at `/l?k=v`, and the error at its end.
fn walk(paging: &Paging, pages: &[PageSummary]) -> (Vec<String>, Option<String>) {
    let base = Url::parse("http://a.test:81/l?k=v").unwrap();
    let mut state = Pages::new(&base, paging);
    let mut urls = vec![state.first()];
    let mut error = None;
    for page in pages {
        match state.next(page) {
            Ok(Some(next)) => urls.push(next),
            Ok(None) => break,
            Err(wrong) => {
                error = Some(wrong.to_string());
                break;
            }
        }
    }
    let shown = urls.iter().map(|url| {
        assert_eq!(url.origin(), base.origin());
        url.as_str().trim_start_matches("http://a.test:81").to_owned()
    });
    (shown.collect(), error)
}

fn ok(urls: &[&str]) -> (Vec<String>, Option<String>) {
    (urls.iter().map(|url| (*url).to_owned()).collect(), None)
}

#[test]
fn numbered_pages_end_with_one_that_is_empty_or_short() {
    let full = |hash| page(2, hash);
    let urls = ["/l?k=v&p=1&n=2", "/l?k=v&p=2&n=2", "/l?k=v&p=3&n=2"];
    assert_eq!(walk(&number(1, Some(2)), &[full(1), full(2), page(1, 3), full(4)]), ok(&urls));
    assert_eq!(walk(&number(1, Some(2)), &[page(0, 1), full(2)]), ok(&urls[..1]));
    let urls = ["/l?k=v&p=0", "/l?k=v&p=1"];
    assert_eq!(walk(&number(0, None), &[page(1, 1), page(0, 2)]), ok(&urls));
}

#[test]
fn an_api_that_counts_elements_gets_their_number() {
    let next = NextPage::Number { query: "p".into(), first: 0, step: 50 };
    let urls = ["/l?k=v&p=0&n=50", "/l?k=v&p=50&n=50", "/l?k=v&p=100&n=50"];
    let pages = [page(50, 1), page(50, 2), page(7, 3)];
    assert_eq!(walk(&Paging { next, ..number(0, Some(50)) }, &pages), ok(&urls));
}

#[test]
fn a_page_that_comes_again_and_too_many_pages_are_errors() {
    let (urls, error) = walk(&number(1, None), &[page(2, 7), page(2, 7)]);
    assert_eq!(urls.len(), 2);
    let said = "mapping: it is the page before: does the API know \"p\"?";
    assert_eq!(error.as_deref(), Some(said));
    let pages: Vec<_> = (0..9).map(|hash| page(2, hash)).collect();
    let (urls, error) = walk(&number(1, None), &pages);
    assert_eq!(urls.len(), 4);
    assert_eq!(error.as_deref(), Some("too_large: there are more than 4 pages"));
    let window = Paging { is_window: true, ..number(1, None) };
    assert_eq!(walk(&window, &pages), (urls, None));
    // As many as there may be.
    let last = [page(2, 1), page(2, 2), page(2, 3), page(0, 4)];
    assert_eq!(walk(&number(1, None), &last).1, None);
}

#[test]
fn a_cursor_leads_on_as_long_as_there_is_one() {
    let at = |cursor| PageSummary { cursor, ..PageSummary::default() };
    let urls = ["/l?k=v", "/l?k=v&after=a%26b%3D1", "/l?k=v&after=7"];
    for end in [FieldValue::Missing, FieldValue::Null, text(""), FieldValue::Boolean(false)] {
        let pages = [at(text("a&b=1")), at(text("7")), at(end), at(text("x"))];
        assert_eq!(walk(&cursor(false), &pages), ok(&urls));
    }
    for (wrong, said) in [
        (text("7"), "mapping: it leads back to a page that was requested before"),
        (FieldValue::Other("an object"), "mapping: the cursor is an object"),
        (FieldValue::Boolean(true), "mapping: the cursor is a boolean"),
    ] {
        let pages = [at(text("7")), at(wrong)];
        assert_eq!(walk(&cursor(false), &pages).1.as_deref(), Some(said));
    }
    let long = FieldValue::Text("x".repeat(MAX_URL_BYTES).into());
    let said = "mapping: the URL of the next page is too long";
    assert_eq!(walk(&cursor(false), &[at(long)]).1.as_deref(), Some(said));
}

#[test]
fn a_flag_says_whether_there_is_a_next_page() {
    let at = |cursor, more| PageSummary { cursor, more, ..PageSummary::default() };
    for more in [FieldValue::Boolean(true), text("true"), text("1")] {
        let pages = [at(text("a"), more), at(text("b"), FieldValue::Boolean(false))];
        assert_eq!(walk(&cursor(true), &pages), ok(&["/l?k=v", "/l?k=v&after=a"]));
    }
    for end in [FieldValue::Missing, FieldValue::Null, text("0"), text("false"), text("")] {
        assert_eq!(walk(&cursor(true), &[at(text("a"), end)]), ok(&["/l?k=v"]));
    }
    for (page, said) in [
        (at(FieldValue::Null, FieldValue::Boolean(true)), "there is a next page, but no cursor"),
        (at(text("a"), text("maybe")), "`while` is neither true nor false"),
        (at(text("a"), FieldValue::Other("an array")), "`while` is an array"),
    ] {
        let error = walk(&cursor(true), &[page]).1.unwrap();
        assert!(error.starts_with(&format!("mapping: {said}")), "{error}");
    }
}

#[test]
fn a_next_page_is_at_the_same_origin() {
    let at = |next| PageSummary { next, ..PageSummary::default() };
    for (next, expected) in [
        ("?x=2", "/l?x=2"),
        ("/other?x=2#f", "/other?x=2"),
        (" http://a.test:81/m ", "/m"),
        ("//a.test:81/m", "/m"),
    ] {
        let urls = ["/l?k=v&n=9", expected];
        assert_eq!(walk(&url(), &[at(text(next)), at(FieldValue::Null)]), ok(&urls), "{next}");
    }
    for end in [FieldValue::Missing, text(" "), FieldValue::Boolean(false)] {
        assert_eq!(walk(&url(), &[at(end)]), ok(&["/l?k=v&n=9"]));
    }
    let other = "mapping: the next page is at another origin";
    for (next, said) in [
        (text("http://b.test:81/l"), other),
        (text("https://a.test:81/l"), other),
        (text("http://a.test/l"), other),
        (text("//b.test/l"), other),
        (text("\\\\b.test\\l"), other),
        (text("file:///etc/passwd"), other),
        (text("data:,[]"), other),
        (text("http://u:p@a.test:81/l"), "mapping: the URL of the next page has a user"),
        (text("http://[/"), "mapping: the URL of the next page is none"),
        (text("?k=v&n=9"), "mapping: it leads back to a page that was requested before"),
        (FieldValue::Boolean(true), "mapping: the URL of the next page is a boolean"),
        (FieldValue::Other("an object"), "mapping: the URL of the next page is an object"),
    ] {
        let (urls, error) = walk(&url(), &[at(next.clone())]);
        assert_eq!((urls.len(), error.as_deref()), (1, Some(said)), "{next:?}");
    }
}
