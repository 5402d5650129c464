//! Words that are none of those known.

/// What to do about a word that is none of `known`.
pub fn suggest(word: &str, known: &[&str]) -> String {
    let near = known
        .iter()
        .map(|known| (strsim::osa_distance(&word.to_lowercase(), &known.to_lowercase()), *known))
        .min()
        .filter(|(distance, known)| *distance <= known.len().max(3) / 3);
    match near {
        Some((_, known)) => format!("did you mean `{known}`?"),
        None => {
            let known: Vec<String> = known.iter().map(|known| format!("`{known}`")).collect();
            format!("known: {}", known.join(", "))
        }
    }
}
