//! "Did you mean": the known name that looks most like an unknown one.

/// The candidate with the smallest edit distance to `name`, the first of several; `None` where there are no candidates.
///
/// A candidate's last part counts as well: `max_connections` means `limits.max_connections`.
pub(super) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let last = |text: &str| text.rsplit('.').next().map(str::to_owned).unwrap_or_default();
    candidates.into_iter().min_by_key(|candidate| {
        let by_last_part = distance(&last(name), &last(candidate));
        distance(name, candidate).min(by_last_part.saturating_add(1))
    })
}

/// Levenshtein's distance in characters: insertions, deletions and replacements.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut next = Vec::with_capacity(row.len());
        next.push(i + 1);
        for (to, pair) in b.iter().zip(row.windows(2)) {
            let &[diagonal, above] = pair else { continue };
            let left = next.last().copied().unwrap_or_default();
            next.push((diagonal + usize::from(from != *to)).min(above + 1).min(left + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_single_edits() {
        assert_eq!(distance("", ""), 0);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("listen", "listne"), 2);
        assert_eq!(distance("url", "uri"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
    }

    #[test]
    fn the_nearest_name_is_found_across_sections() {
        let known = ["listen", "limits.max_connections", "upstream.url"];
        assert_eq!(nearest("lisen", known), Some("listen"));
        assert_eq!(nearest("max_connection", known), Some("limits.max_connections"));
        assert_eq!(nearest("upstream.uri", known), Some("upstream.url"));
        assert_eq!(nearest("anything", []), None);
    }
}
