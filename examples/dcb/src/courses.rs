//! Students subscribe to courses: a course has so many places, and a student takes so many courses. The rule of one
//! subscription spans both.

use eventstore_abstractions::typed::DomainEvent;
use eventstore_abstractions::{
    EventLog, EventMessage, Query, QueryItem, Result, StreamId, Tag, Timestamp, event_set,
};
use serde::{Deserialize, Serialize};

use crate::{DecisionModel, Outcome, decide};

/// Most courses that a student takes.
pub const MAX_COURSES: usize = 5;

/// A course is offered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CourseDefined {
    /// Which one.
    pub course: String,
    /// How many places it has.
    pub capacity: usize,
}

/// A course has another number of places.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CourseCapacityChanged {
    /// Which one.
    pub course: String,
    /// How many places it has now.
    pub capacity: usize,
}

/// A student takes a course.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StudentSubscribed {
    /// Who.
    pub student: String,
    /// To what.
    pub course: String,
}

impl DomainEvent for CourseDefined {
    const TYPE_NAME: &'static str = "CourseDefined";
}

impl DomainEvent for CourseCapacityChanged {
    const TYPE_NAME: &'static str = "CourseCapacityChanged";
}

impl DomainEvent for StudentSubscribed {
    const TYPE_NAME: &'static str = "StudentSubscribed";
}

event_set! {
    /// What happens to courses and students.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum CourseEvent { CourseDefined, CourseCapacityChanged, StudentSubscribed }
}

/// Why a command about courses is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is such a course.
    #[error("the course is there already")]
    CourseExists,
    /// There is no such course.
    #[error("there is no such course")]
    NoCourse,
    /// It has this number of places.
    #[error("the course has that capacity already")]
    SameCapacity,
    /// All places are taken.
    #[error("the course is full")]
    CourseFull,
    /// The student takes it.
    #[error("the student takes the course already")]
    AlreadySubscribed,
    /// The student takes as many as are allowed.
    #[error("the student takes {MAX_COURSES} courses already")]
    TooManyCourses,
}

/// What is known of the course and the student that a command is about.
#[derive(Debug, Default)]
struct Model {
    capacity: Option<usize>,
    subscriptions: Vec<StudentSubscribed>,
}

impl DecisionModel for Model {
    type Event = CourseEvent;

    fn apply(&mut self, event: CourseEvent, _: Timestamp) {
        match event {
            CourseEvent::CourseDefined(CourseDefined { capacity, .. })
            | CourseEvent::CourseCapacityChanged(CourseCapacityChanged { capacity, .. }) => {
                self.capacity = Some(capacity);
            }
            CourseEvent::StudentSubscribed(subscribed) => self.subscriptions.push(subscribed),
        }
    }
}

/// Offers a course.
///
/// # Errors
/// [`Refusal::CourseExists`], or as the store fails.
pub async fn define_course(log: &dyn EventLog, course: &str, capacity: usize) -> Outcome<Refusal> {
    let tag = course_tag(course)?;
    let query = Query::item(QueryItem::types([CourseDefined::TYPE_NAME])?.tag(tag.clone()));
    decide(log, &stream("course", course)?, &query, |model: &Model| {
        if model.capacity.is_some() {
            return Err(Refusal::CourseExists);
        }
        let course = course.to_owned();
        Ok(message(&CourseDefined { course, capacity }, [tag.clone()]))
    })
    .await
}

/// Gives a course another number of places.
///
/// # Errors
/// [`Refusal::NoCourse`] or [`Refusal::SameCapacity`], or as the store fails.
pub async fn change_capacity(log: &dyn EventLog, course: &str, capacity: usize) -> Outcome<Refusal> {
    let tag = course_tag(course)?;
    let types = [CourseDefined::TYPE_NAME, CourseCapacityChanged::TYPE_NAME];
    let query = Query::item(QueryItem::types(types)?.tag(tag.clone()));
    decide(
        log,
        &stream("course", course)?,
        &query,
        |model: &Model| match model.capacity {
            None => Err(Refusal::NoCourse),
            Some(same) if same == capacity => Err(Refusal::SameCapacity),
            Some(_) => {
                let course = course.to_owned();
                Ok(message(
                    &CourseCapacityChanged { course, capacity },
                    [tag.clone()],
                ))
            }
        },
    )
    .await
}

/// Subscribes a student to a course.
///
/// # Errors
/// Each other [`Refusal`], or as the store fails.
pub async fn subscribe(log: &dyn EventLog, student: &str, course: &str) -> Outcome<Refusal> {
    let (of_course, of_student) = (course_tag(course)?, Tag::new(format!("student:{student}"))?);
    // Everything about the course, and every subscription of the student.
    let query = Query::item(QueryItem::tags([of_course.clone()]))
        .or(QueryItem::types([StudentSubscribed::TYPE_NAME])?.tag(of_student.clone()));
    decide(log, &stream("student", student)?, &query, |model: &Model| {
        let subscribed = StudentSubscribed {
            student: student.to_owned(),
            course: course.to_owned(),
        };
        model.check(&subscribed)?;
        Ok(message(&subscribed, [of_course.clone(), of_student.clone()]))
    })
    .await
}

impl Model {
    fn check(&self, wanted: &StudentSubscribed) -> Result<(), Refusal> {
        let capacity = self.capacity.ok_or(Refusal::NoCourse)?;
        let count = |is_meant: &dyn Fn(&StudentSubscribed) -> bool| {
            self.subscriptions.iter().filter(|other| is_meant(other)).count()
        };
        if self.subscriptions.contains(wanted) {
            Err(Refusal::AlreadySubscribed)
        } else if count(&|other| other.course == wanted.course) >= capacity {
            Err(Refusal::CourseFull)
        } else if count(&|other| other.student == wanted.student) >= MAX_COURSES {
            Err(Refusal::TooManyCourses)
        } else {
            Ok(())
        }
    }
}

fn course_tag(course: &str) -> Result<Tag> {
    Tag::new(format!("course:{course}"))
}

fn stream(category: &str, id: &str) -> Result<StreamId> {
    StreamId::new(category, id)
}

fn message(event: &impl DomainEvent, tags: impl IntoIterator<Item = Tag>) -> EventMessage {
    EventMessage::of(event)
        .expect("the events are plain data")
        .with_tags(tags)
}
