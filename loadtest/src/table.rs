use std::fmt;

/// Writes a table for people: the first column to the left, the others to the right.
pub(crate) fn write_table<const N: usize>(
    f: &mut fmt::Formatter<'_>,
    headings: [&str; N],
    rows: &[[String; N]],
) -> fmt::Result {
    let headings = headings.map(str::to_owned);
    let lines = || std::iter::once(&headings).chain(rows);
    let widths: [usize; N] = std::array::from_fn(|column| {
        let widths = lines().map(|line| line[column].chars().count());
        widths.max().unwrap_or(0)
    });
    for line in lines() {
        for (column, (cell, width)) in line.iter().zip(widths).enumerate() {
            match column {
                0 => write!(f, "\n{cell:<width$}")?,
                _ => write!(f, "  {cell:>width$}")?,
            }
        }
    }
    Ok(())
}
