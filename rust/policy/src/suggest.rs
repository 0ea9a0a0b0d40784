//! The nearest known name to one that is not known.

/// Words longer than this are not compared: they are no slip of the finger.
const MAX_LENGTH: usize = 64;

/// The known name nearest to `name`, if it is near enough to be what was meant.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if name.len() > MAX_LENGTH {
        return None;
    }
    let near = |candidate: &&str| {
        let distance = distance(name, candidate);
        (distance <= (name.len() / 3).max(1)).then_some(distance)
    };
    known.into_iter().filter_map(|one| near(&one).map(|distance| (distance, one))).min().map(|(_, one)| one)
}

/// "did you mean `x`?" if something is near, else the whole choice.
pub(crate) fn hint<'a>(name: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    if let Some(near) = nearest(name, known.clone()) {
        return format!("did you mean `{near}`?");
    }
    let mut choice: Vec<&str> = known.into_iter().take(24).collect();
    choice.sort_unstable();
    if choice.is_empty() { "none is declared".to_owned() } else { format!("known: {}", choice.join(", ")) }
}

/// How many letters must be inserted, left out, changed or swapped with their neighbour to turn one word into the other.
fn distance(one: &str, other: &str) -> usize {
    if other.len() > MAX_LENGTH {
        return usize::MAX;
    }
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let mut rows = vec![(0..=other.len()).collect::<Vec<usize>>()];
    for (line, letter) in one.iter().enumerate() {
        let mut row = vec![line + 1];
        for (column, candidate) in other.iter().enumerate() {
            let change = rows[line][column] + usize::from(letter != candidate);
            let mut least = change.min(rows[line][column + 1] + 1).min(row[column] + 1);
            if line > 0 && column > 0 && one[line - 1] == *candidate && *letter == other[column - 1] {
                least = least.min(rows[line - 1][column - 1] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[one.len()][other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_word() {
        let known = ["sql.kind", "sql.tables", "result.rows"];
        assert_eq!(nearest("sql.knd", known), Some("sql.kind"));
        assert_eq!(nearest("result.row", known), Some("result.rows"));
        assert_eq!(nearest("raed", ["write", "read"]), Some("read"));
        assert_eq!(nearest("weather", known), None);
        assert_eq!(nearest(&"x".repeat(10_000), known), None);
        assert_eq!(distance("", "abc"), 3);
    }
}
