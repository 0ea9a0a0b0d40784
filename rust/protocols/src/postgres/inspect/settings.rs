//! Session settings that change what a text means: followed as the server follows them.

/// The settings of one session that matter to understanding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Schemas in which unqualified names are looked up, `$user` not yet replaced.
    pub search_path: Vec<String>,
    initial: Vec<String>,
}

impl Settings {
    /// The settings of a session that starts with this search path.
    #[must_use]
    pub fn new(search_path: Vec<String>) -> Self {
        Self { initial: search_path.clone(), search_path }
    }

    /// A SET, RESET or report of `name` took effect; `None` means the session's start value. Says whether names may now
    /// mean something else.
    pub fn changed(&mut self, name: &str, value: Option<&str>) -> bool {
        if !name.eq_ignore_ascii_case("search_path") {
            return false;
        }
        let path = value.map_or_else(|| self.initial.clone(), split_path);
        std::mem::replace(&mut self.search_path, path) != self.search_path
    }

    /// Everything has its start value again.
    pub fn reset(&mut self) {
        self.search_path.clone_from(&self.initial);
    }

    /// The schemas in order, with `$user` replaced.
    #[must_use]
    pub fn path(&self, user: &str) -> Vec<String> {
        self.search_path.iter().map(|schema| if schema == "$user" { user.to_owned() } else { schema.clone() }).collect()
    }
}

/// Splits a search path as the server prints it: names separated by commas, quoted where they must be.
#[must_use]
pub fn split_path(path: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut name = String::new();
    let mut quoted = false;
    let mut characters = path.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                name.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => names.push(std::mem::take(&mut name)),
            character if quoted => name.push(character),
            character if character.is_whitespace() => {}
            character => name.extend(character.to_lowercase()),
        }
    }
    names.push(name);
    names.retain(|name| !name.is_empty());
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_split_as_the_server_reads_it() {
        assert_eq!(split_path("\"$user\", public"), ["$user", "public"]);
        assert_eq!(split_path("Sales,\"a \"\"b\"\", c\""), ["sales", "a \"b\", c"]);
        assert!(split_path("\"\"").is_empty());
    }

    #[test]
    fn reset_brings_back_the_start_value() {
        let mut settings = Settings::new(vec!["a".into()]);
        assert!(settings.changed("search_path", Some("b")));
        assert!(settings.changed("search_path", None));
        assert_eq!(settings.search_path, ["a"]);
        assert!(!settings.changed("timezone", Some("UTC")));
    }
}
