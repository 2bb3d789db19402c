//! The lines are a secret, how it is encoded, and the text that it stands in: however it is encoded,
//! it does not come out.
//!
//! Of the second line the first three bytes are the encoders of the whole, base64 among them, and
//! the others in turn those of each character.

use aitask_exporter::fetch::redact::Redactor;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// Maximum length of a secret, in bytes. A header can hold a longer one, but length makes no
/// difference beyond this.
const MOST_BYTES: usize = 128;
const MASK: &str = "<secret>";

pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.splitn(3, '\n');
    let [secret, recipe, around] = [(); 3].map(|()| lines.next().unwrap_or_default());
    // A mask may stand in the place of one that it resembles.
    if !(8..=MOST_BYTES).contains(&secret.len()) || secret.contains(['<', '>']) {
        return;
    }
    let redactor = Redactor::new([secret]);
    let middle = around.ceil_char_boundary(around.len() / 2);
    let (before, behind) = around.split_at(middle);
    let form = encode(secret, recipe.as_bytes());
    let text = format!("{before}{form}{behind}");
    let Some(masked) = redactor.mask_text(&text) else { panic!("{form:?} is in {text:?}") };
    assert!(masked.contains(MASK), "{text:?}: {masked:?}");
    assert!(masked.len() <= text.len() * MASK.len(), "{text:?}: {masked:?}");
    let stays = before.contains(&form) || behind.contains(&form);
    assert!(stays || !masked.contains(&form), "{form:?} is in {masked:?}, was {text:?}");
    // Nothing panics, whatever the text without the secret is.
    redactor.mask(around.as_bytes());
}

fn encode(secret: &str, recipe: &[u8]) -> String {
    let (outer, inner) = recipe.split_at(recipe.len().min(3));
    let mut forms = inner.iter().cycle();
    let each = |c: char| character(c, forms.next().copied().unwrap_or_default());
    let mut form: String = match outer.first().copied().unwrap_or_default() % 4 {
        // Base64 is of the secret as it is, and may be escaped.
        0 => base64(secret, outer),
        _ => join(secret.chars().map(each)),
    };
    for how in outer.iter().skip(1) {
        form = match how % 8 {
            0 => json(&form),
            1 => json(&form).replace('/', "\\/").replace('&', "\\u0026"),
            2 => form.chars().map(|c| character(c, 2)).collect(),
            3 => utf8_percent_encode(&form, NON_ALPHANUMERIC).to_string(),
            4 => form.chars().map(|c| character(c, 5)).collect(),
            5 => join(form.chars().map(|c| character(c, 9))),
            6 => form.chars().map(|c| character(c, 11)).collect(),
            _ => form,
        };
    }
    form
}

/// Puts the forms of characters one behind another, and closes a reference without a semicolon where
/// what follows may be taken for a part of it.
fn join(forms: impl Iterator<Item = String>) -> String {
    let (mut joined, mut forms) = (String::new(), forms.peekable());
    while let Some(form) = forms.next() {
        joined.push_str(&form);
        let is_part = |c: char| c.is_ascii_hexdigit() || c == ';';
        let is_open = form.starts_with("&#") && !form.ends_with(';');
        if is_open && forms.peek().is_none_or(|next| next.starts_with(is_part)) {
            joined.push(';');
        }
    }
    joined
}

/// Encodes one character in one of the forms that it can have among others.
fn character(c: char, form: u8) -> String {
    let code = u32::from(c);
    let utf16 = |digits: fn(&u16) -> String| -> String {
        c.encode_utf16(&mut [0; 2]).iter().map(digits).collect()
    };
    match form % 12 {
        1 => utf16(|unit| format!("\\u{unit:04x}")),
        2 => utf16(|unit| format!("\\u{unit:04X}")),
        3 => c.to_string().bytes().map(|byte| format!("%{byte:02X}")).collect(),
        4 => format!("&#{code};"),
        5 => match c {
            '&' => "&amp;".to_owned(),
            '"' => "&quot;".to_owned(),
            '\'' => "&#39;".to_owned(),
            c => c.to_string(),
        },
        6 => format!("&#x{code:X};"),
        7 => format!("\\u{{{code:x}}}"),
        8 => json(&c.to_string()),
        9 => format!("&#{code}"),
        10 => format!("&#x{code:x}"),
        11 => c.to_string().bytes().map(|byte| format!("\\x{byte:02x}")).collect(),
        _ => c.to_string(),
    }
}

fn json(text: &str) -> String {
    let escaped = text.chars().map(|c| match c {
        '"' | '\\' => format!("\\{c}"),
        c if c.is_ascii_control() => format!("\\u{:04x}", u32::from(c)),
        c => c.to_string(),
    });
    escaped.collect()
}

/// Encodes the secret in base64, after as many bytes as the recipe says.
fn base64(secret: &str, recipe: &[u8]) -> String {
    let alphabet = match recipe.get(1) {
        Some(b'a'..=b'z') => b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
        _ => b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
    };
    let before = usize::from(recipe.get(2).copied().unwrap_or_default() % 5);
    let bytes = [&b"user:"[..before], secret.as_bytes()].concat();
    let mut encoded = String::new();
    for three in bytes.chunks(3) {
        let padded = [0, 1, 2].map(|index| u32::from(three.get(index).copied().unwrap_or(0)));
        let bits = padded[0] << 16 | padded[1] << 8 | padded[2];
        for index in 0..4 {
            let six = usize::try_from(bits >> (18 - 6 * index) & 63).unwrap();
            let is_padding = usize::try_from(index).unwrap() > three.len();
            encoded.push(if is_padding { '=' } else { char::from(alphabet[six]) });
        }
    }
    encoded
}
