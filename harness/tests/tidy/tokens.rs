//! Rust source as tokens, so that a word in a comment or a string is never taken for code, and
//! what a macro is given is looked into like everything else.

use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream, TokenTree};

use crate::tree::File;

/// The tokens of a file. Source that does not lex does not compile, which is the compiler's to
/// say: the rules see it as empty.
pub(crate) fn of(file: &File) -> Vec<TokenTree> {
    file.text.parse::<TokenStream>().map(|stream| stream.into_iter().collect()).unwrap_or_default()
}

/// The tokens inside a group.
pub(crate) fn inside(group: &Group) -> Vec<TokenTree> {
    group.stream().into_iter().collect()
}

/// Calls `see` with every sequence of sibling tokens, from the file's own down into each group,
/// once for each token: the slice begins at that token and ends with its siblings.
pub(crate) fn visit(tokens: &[TokenTree], see: &mut dyn FnMut(&[TokenTree])) {
    for (index, token) in tokens.iter().enumerate() {
        see(&tokens[index..]);
        if let TokenTree::Group(group) = token {
            visit(&inside(group), see);
        }
    }
}

pub(crate) fn ident(token: Option<&TokenTree>) -> Option<&Ident> {
    match token {
        Some(TokenTree::Ident(ident)) => Some(ident),
        _ => None,
    }
}

pub(crate) fn is_ident(token: Option<&TokenTree>, word: &str) -> bool {
    ident(token).is_some_and(|ident| ident == word)
}

pub(crate) fn is_punct(token: Option<&TokenTree>, sign: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == sign)
}

pub(crate) fn group(token: Option<&TokenTree>, delimiter: Delimiter) -> Option<&Group> {
    match token {
        Some(TokenTree::Group(group)) if group.delimiter() == delimiter => Some(group),
        _ => None,
    }
}

/// The tokens between the brackets, where an attribute (`#[..]` or `#![..]`) begins here.
pub(crate) fn attribute(tokens: &[TokenTree]) -> Option<Vec<TokenTree>> {
    if !is_punct(tokens.first(), '#') {
        return None;
    }
    let bracket = if is_punct(tokens.get(1), '!') { 2 } else { 1 };
    group(tokens.get(bracket), Delimiter::Bracket).map(inside)
}

/// The line on which a span begins, from 1.
pub(crate) fn line(span: Span) -> usize {
    span.start().line
}
