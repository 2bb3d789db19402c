//! The core schema of YAML 1.2: what a scalar without quotes stands for.

use super::NodeKind;

/// Returns what a scalar without quotes stands for.
pub fn scalar(text: &str) -> NodeKind {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => NodeKind::Null,
        "true" | "True" | "TRUE" | "false" | "False" | "FALSE" => NodeKind::Bool(text.into()),
        _ if is_number(text) => NodeKind::Number(text.into()),
        _ => NodeKind::Text(text.into()),
    }
}

fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let radix = [("0x", 16), ("0o", 8), ("0b", 2)];
    let digits =
        radix.iter().find_map(|(prefix, radix)| Some((unsigned.strip_prefix(prefix)?, *radix)));
    if let Some((digits, radix)) = digits {
        return !digits.starts_with(['+', '-']) && u128::from_str_radix(digits, radix).is_ok();
    }
    // By YAML 1.2 a number does not begin with a zero.
    let is_padded = unsigned.len() > 1
        && unsigned.starts_with('0')
        && unsigned.bytes().all(|byte| byte.is_ascii_digit());
    let is_special =
        matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN");
    let is_finite = || unsigned.parse::<f64>().is_ok_and(f64::is_finite);
    is_special || (!is_padded && !unsigned.starts_with(['+', '-']) && is_finite())
}
