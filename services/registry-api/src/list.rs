//! Lists page by page, of which the caller may see only a part.

use std::str::FromStr;

use leafgate_registry::{Cursor, Page};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::extract::Read;
use crate::page_token::ListDigest;
use crate::problem::Problem;

/// Items on a page where the client does not say.
const DEFAULT_SIZE: u32 = 100;
const MAX_SIZE: u32 = 1_000;

/// How many items are looked at for one page. A list of which the caller may see little then has short pages, even
/// empty ones, rather than slow answers.
const LOOKED_AT: usize = 10_000;

/// How many items are read at once at least, where not all of them are shown.
const BATCH: usize = 200;

/// Which page is asked for.
#[derive(Debug, Clone)]
pub(crate) struct PageOf<K> {
    pub(crate) size: usize,
    pub(crate) after: Option<Cursor<K>>,
}

impl<K> PageOf<K>
where
    Cursor<K>: FromStr,
{
    pub(crate) fn new(
        size: Option<u32>,
        token: Option<&str>,
        list: &ListDigest,
    ) -> Result<Self, Problem> {
        let size = size.unwrap_or(DEFAULT_SIZE);
        if !(1..=MAX_SIZE).contains(&size) {
            let detail = format!("page_size must be from 1 to {MAX_SIZE}");
            return Err(Problem::malformed(detail));
        }
        Ok(Self {
            size: usize::try_from(size).unwrap_or(usize::MAX),
            after: token.map(|token| list.place(token)).transpose()?,
        })
    }
}

/// The parameters of a list without filters.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Paging {
    /// How many at most, from 1 to 1000; 100 if left out. A page may have fewer and still not be the last.
    #[param(minimum = 1, maximum = 1000)]
    page_size: Option<u32>,
    /// The `next_page_token` of the page before.
    page_token: Option<String>,
}

impl Read<Paging> {
    pub(crate) fn page<K>(&self) -> Result<PageOf<K>, Problem>
    where
        Cursor<K>: FromStr,
    {
        let Paging {
            page_size,
            page_token,
        } = &self.query;
        PageOf::new(*page_size, page_token.as_deref(), &self.list)
    }
}

/// A list, and what of it the caller is shown.
pub(crate) trait Listing: Send {
    /// What is listed.
    type Item: Send + Sync;
    /// What the list is ordered by.
    type Key: Clone + Send + Sync;

    /// At most `limit` items after a place.
    fn read(
        &mut self,
        after: Option<Cursor<Self::Key>>,
        limit: usize,
    ) -> impl Future<Output = Result<Page<Self::Item, Self::Key>, Problem>> + Send;

    /// Whether the caller is shown all or nearly all items, so that no more need be read than are to be shown.
    fn shows_all(&self) -> bool;

    /// Whether the caller is shown this item.
    fn shows(&mut self, item: &Self::Item) -> impl Future<Output = Result<bool, Problem>> + Send;

    /// The place of an item.
    fn key(item: &Self::Item) -> Self::Key;
}

impl<K: Clone> PageOf<K> {
    /// Reads until the page is full of what is shown, the list ends, or enough was looked at.
    pub(crate) async fn fill<L: Listing<Key = K>>(
        &self,
        mut listing: L,
    ) -> Result<Page<L::Item, K>, Problem> {
        let mut shown = Vec::new();
        let mut after = self.after.clone();
        let mut looked_at = 0;
        let limit = if listing.shows_all() {
            self.size
        } else {
            self.size.max(BATCH)
        };
        loop {
            let Page { items, next } = listing.read(after, limit).await?;
            looked_at += items.len();
            let mut rest = items.into_iter();
            while let Some(item) = rest.next() {
                if !listing.shows(&item).await? {
                    continue;
                }
                let place = Cursor::after(L::key(&item));
                shown.push(item);
                if shown.len() == self.size {
                    let more = rest.len() > 0 || next.is_some();
                    let next = more.then_some(place);
                    return Ok(Page { items: shown, next });
                }
            }
            if next.is_none() || looked_at >= LOOKED_AT {
                return Ok(Page { items: shown, next });
            }
            after = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers from 0, of which every `step`th is shown.
    struct Numbers {
        end: u64,
        step: u64,
    }

    impl Listing for Numbers {
        type Item = u64;
        type Key = u64;

        async fn read(
            &mut self,
            after: Option<Cursor<u64>>,
            limit: usize,
        ) -> Result<Page<u64, u64>, Problem> {
            let begin = after.map_or(0, |cursor| cursor.key() + 1);
            let items: Vec<u64> = (begin..self.end).take(limit + 1).collect();
            Ok(Page::cut(items, limit, |item| *item))
        }

        fn shows_all(&self) -> bool {
            self.step == 1
        }

        async fn shows(&mut self, item: &u64) -> Result<bool, Problem> {
            Ok(item.is_multiple_of(self.step))
        }

        fn key(item: &u64) -> u64 {
            *item
        }
    }

    async fn walk(end: u64, step: u64, size: usize) -> Vec<Vec<u64>> {
        let mut pages = Vec::new();
        let mut page = PageOf { size, after: None };
        loop {
            let found = page.fill(Numbers { end, step }).await.unwrap();
            pages.push(found.items);
            match found.next {
                Some(next) => page.after = Some(next),
                None => return pages,
            }
        }
    }

    #[tokio::test]
    async fn pages_are_full_of_what_is_shown_and_miss_nothing() {
        for (end, step, size) in [
            (0, 2, 3),
            (1, 2, 3),
            (10, 2, 3),
            (12, 2, 3),
            (100, 3, 7),
            (1_000, 7, 5),
            (5, 1, 1),
        ] {
            let pages = walk(end, step, size).await;
            let all: Vec<u64> = pages.concat();
            let expected: Vec<u64> = (0..end).filter(|n| n % step == 0).collect();
            assert_eq!(all, expected, "{end} {step} {size}");
            let (_, full) = pages.split_last().unwrap();
            assert!(full.iter().all(|page| page.len() == size), "{pages:?}");
        }
    }

    #[tokio::test]
    async fn a_page_ends_where_enough_was_looked_at() {
        let page = PageOf {
            size: 1_000,
            after: Some(Cursor::after(0)),
        };
        let found = page
            .fill(Numbers {
                end: u64::MAX,
                step: u64::MAX,
            })
            .await
            .unwrap();
        assert!(found.items.is_empty());
        assert_eq!(found.next, Some(Cursor::after(10_000)));
    }
}
