//! Texts that are escapes, and texts that are none.

use super::*;

fn readings(text: &str, at: usize) -> Vec<DecodedChar> {
    let mut decoder = EscapeDecoder::new(text.as_bytes());
    let mut chain = decoder.chain(at);
    std::iter::from_fn(|| decoder.next(&mut chain)).collect()
}

/// The last reading of an escape that is the whole text.
fn symbol(text: &str) -> Option<String> {
    let readings = readings(text, 0);
    let whole = readings.iter().rev().find(|symbol| symbol.end == text.len())?;
    Some(String::from_utf8_lossy(&whole.utf8).into_owned())
}

#[test]
fn every_form_of_a_character_is_read() {
    for plus in [
        r"\u002B",
        r"\u002b",
        r"\x2b",
        r"\u{2B}",
        r"\+",
        "%2B",
        "%2b",
        "%u002B",
        "&plus;",
        "&#43;",
        "&#x2B;",
        "&#X2b;",
        "&#0043;",
        // As browsers have it.
        "&#43",
        "&#x2B",
        // One around another.
        r"\\u002B",
        r"\\\\u002B",
        r"\u005Cu002B",
        r"\u005c\u0075\u0030\u0030\u0032\u0042",
        "%252B",
        "%25252B",
        "%5Cu002B",
        "%5C%75%30%30%32%42",
        "&amp;#43;",
        "&amp;amp;plus;",
        r"\u0026#43;",
        r"\\u0026#43;",
        "%26%2343%3B",
        r"\u00252B",
        "&#37;2B",
        "&#92;u002B",
        "&#92u002B",
        "&amp;#43",
        "&#38&#35&#52&#51&#59",
        "&#38&#35&#52&#51",
        "%26%2343",
        "&%2343;",
        "&percnt;2B",
    ] {
        assert_eq!(symbol(plus).as_deref(), Some("+"), "{plus}");
    }
    for (text, character) in [
        (r"\/", "/"),
        (r"\\\/", "/"),
        (r#"\""#, "\""),
        (r#"\\\""#, "\""),
        (r"\&quot;", "\""),
        (r"\\", "\\"),
        (r"\\\\", "\\"),
        (r"\\\\\\\\", "\\"),
        (r"\n", "\n"),
        (r"\u00e9", "é"),
        (r"\ud83d\uDE00", "😀"),
        (r"\\ud83d\\ude00", "😀"),
        ("%5Cud83d%5Cude00", "😀"),
        ("&#128512;", "😀"),
        ("&#x1F600;", "😀"),
        ("&amp;", "&"),
    ] {
        assert_eq!(symbol(text).as_deref(), Some(character), "{text}");
    }
    assert_eq!(readings("%C3", 0)[0].utf8[..], [0xc3]);
}

#[test]
fn a_number_ends_before_what_is_no_digit_of_it() {
    for (text, end) in [
        ("&#43x", 4),
        ("&#43é", 4),
        ("&#43;;", 5),
        ("&#x2Bg", 5),
        ("&#43&#49;", 4),
        ("&#43&#59", 4),
        ("&#43%31", 4),
        ("&#43%3B", 4),
        ("%26%2343%26%2349", 8),
        ("%26%2343%3B", 11),
        (r"\u0026#43\u0031", 9),
    ] {
        let readings = readings(text, 0);
        let plus = readings.iter().find(|symbol| symbol.utf8[..] == *b"+");
        assert_eq!(plus.map(|symbol| symbol.end), Some(end), "{text}: {readings:?}");
    }
}

#[test]
fn a_character_of_latin1_may_be_a_byte() {
    for text in [r"\xe9", r"\u00E9", "&#233;", "&#xe9"] {
        let readings = readings(text, 0);
        let read: Vec<_> = readings.iter().map(|symbol| &symbol.utf8[..]).collect();
        assert_eq!(read, [&[0xe9][..], "é".as_bytes()], "{text}");
    }
    assert_eq!(readings(r"\x7f", 0).len(), 1);
    assert_eq!(readings(r"\u0100", 0).len(), 1);
}

#[test]
fn what_is_no_escape_is_none() {
    for text in [
        "",
        "+",
        "\\",
        r"\u",
        r"\u12",
        r"\u12g4",
        r"\ud83d",
        r"\ud83dx",
        r"\ud83d\u0041",
        r"\u{}",
        r"\u{110000}",
        r"\x2",
        r"\q",
        "%",
        "%2",
        "%2g",
        "%u12",
        "&",
        "&;",
        "&#;",
        "&#x;",
        "&#x",
        "&plus",
        "&what;",
        "&#123456789;",
        "&eacute;",
    ] {
        assert_eq!(readings(text, 0), [], "{text}");
    }
}

#[test]
fn escapes_within_escapes_are_read_up_to_a_limit() {
    let reads = |text: &str| {
        let mut decoder = EscapeDecoder::new(text.as_bytes());
        for at in 0..text.len() {
            let mut chain = decoder.chain(at);
            while let Some(symbol) = decoder.next(&mut chain) {
                assert!(symbol.end > at);
            }
        }
        !decoder.is_exhausted()
    };
    for begin in [r"\\u005c", "%%"] {
        assert!(!reads(&begin.repeat(100_000 / begin.len())), "{begin}");
    }
    // Any number of escapes, as long as none is within another.
    for text in [r#"\"\n\/\u4e2d"#, "%2F%20", "&amp;&x=", r"\\\\\\\\\\", "100 %\n", "%25%25"] {
        assert!(reads(&text.repeat(100_000 / text.len())), "{text}");
    }
}
