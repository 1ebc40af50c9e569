//! Both databases do what every store has to do, each handle with connections of its own.

mod postgres;
mod sqlite;
