//! Students race for the places of two courses.

use std::error::Error;

use dcb::courses::{change_capacity, define_course, subscribe};
use dcb::{Failure, courses::Refusal};
use eventstores::EventStoreProviderExt;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let log = eventstores::connect("memory:").await?.default_log();
    for (course, capacity) in [("rust", 3), ("music", 100)] {
        define_course(&*log, course, capacity).await?;
        println!("course {course} has {capacity} places");
    }

    println!("ten students want both courses, all at once:");
    let mut tasks = Vec::new();
    for student in (1..=10).map(|number| format!("student-{number}")) {
        for course in ["rust", "music"] {
            let (log, student) = (log.clone(), student.clone());
            tasks.push(tokio::spawn(async move {
                (course, subscribe(&*log, &student, course).await)
            }));
        }
    }
    let (mut rust, mut music, mut full) = (0, 0, 0);
    for task in tasks {
        match task.await? {
            ("rust", Ok(())) => rust += 1,
            (_, Ok(())) => music += 1,
            (_, Err(Failure::Refused(Refusal::CourseFull))) => full += 1,
            (_, Err(error)) => return Err(error.into()),
        }
    }
    println!("  rust: {rust} subscribed, music: {music} subscribed, {full} found a full course");

    let refused = define_course(&*log, "rust", 9).await.expect_err("it is there");
    println!("define rust again: {refused}");
    let refused = subscribe(&*log, "student-1", "music").await.expect_err("taken");
    println!("student-1 takes music again: {refused}");
    change_capacity(&*log, "rust", 4).await?;
    subscribe(&*log, "late", "rust").await?;
    println!("a place more, and it is taken, too");
    Ok(())
}
