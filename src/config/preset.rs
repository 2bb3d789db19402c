//! The mappings that come with the binary. A preset is a provider without a name and without
//! credentials, in the language that users write.

/// Embeds `config/providers/<name>.yml` under each name.
macro_rules! presets {
    ($($name:literal,)*) => {
        /// The names of all presets, sorted.
        pub const NAMES: &[&str] = &[$($name),*];

        /// The YAML of a preset.
        pub fn get(name: &str) -> Option<&'static str> {
            match name {
                $($name => Some(include_str!(concat!("../../config/providers/", $name, ".yml"))),)*
                _ => None,
            }
        }
    };
}

presets! {
    "bfl-flux",
    "cogvideox",
    "ideogram",
    "kling",
    "kling-tasks",
    "luma",
    "luma-gateway",
    "midjourney-proxy",
    "mjdjourney",
    "new-api-mj",
    "new-api-task",
    "openai-video",
    "runway",
    "runway-gateway",
    "stability",
    "suno-api",
    "suno-record-info",
    "viggle",
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    #[test]
    fn every_preset_loads() {
        assert!(super::NAMES.is_sorted());
        for name in super::NAMES {
            let text = format!("providers: [{{ name: x, preset: {name}, base_url: http://x }}]");
            let loaded = crate::config::load_text("x.yml", &text, Path::new(""));
            assert_eq!(loaded.map_err(|diagnostics| diagnostics.to_string()).err(), None, "{name}");
        }
    }
}
