//! Who goes out by a pool's exits: one identity a session, made when it is needed and replaced when it is over.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use crate::error::{Error, Result};
use crate::kind::ErrorKind;
use crate::lock::lock;
use crate::memory::Who;
use crate::proxy::Route;
use crate::router::{Means, Others, Persona};
use crate::session::{ExitReport, Exits, Mode, ProxyPool, Session, Wanted};

use super::Shared;
use super::terms::Look;

/// The pools at work. The same pool is one, however often it is named.
#[derive(Default)]
pub(super) struct Pools(Mutex<Vec<(ProxyPool, Arc<Exits>)>>);

impl Pools {
    /// The exits of `pool`.
    pub(super) fn of(&self, pool: &ProxyPool) -> Result<Arc<Exits>> {
        let mut known = lock(&self.0);
        if let Some((_, exits)) = known.iter().find(|(other, _)| other == pool) {
            return Ok(Arc::clone(exits));
        }
        let exits = Arc::new(Exits::new(pool)?);
        known.push((pool.clone(), Arc::clone(&exits)));
        Ok(exits)
    }

    pub(super) fn report(&self) -> Vec<ExitReport> {
        lock(&self.0).iter().flat_map(|(_, exits)| exits.report()).collect()
    }
}

/// Who sits where.
#[derive(Default)]
pub(super) struct Crew(Mutex<HashMap<Place, Vec<Seat>>>);

/// A user's session, and the site where it has an exit of its own there.
type Place = (Option<Arc<str>>, Option<String>);

/// A persona in its place, looking so.
struct Seat {
    look: Look,
    persona: Arc<Persona>,
    used: Instant,
}

/// One user's session as it asks one site, by a pool.
pub(super) struct Berth<'a> {
    pub(super) shared: &'a Shared,
    pub(super) name: Option<&'a Arc<str>>,
    pub(super) look: &'a Look,
    pub(super) exits: &'a Exits,
    pub(super) site: String,
    /// The fetch may come to the browser, whose connections are to have one address.
    pub(super) together: bool,
    /// The URL is reached without a proxy.
    pub(super) around: bool,
    /// The same session without a proxy: what the caller gave it, all others have too.
    pub(super) base: &'a Arc<Persona>,
}

impl Berth<'_> {
    /// Who goes. Sticky: who went before, as long as the session lasts.
    ///
    /// # Errors
    /// [`ErrorKind::Proxy`] when no exit works.
    pub(super) fn persona(&self) -> Result<Arc<Persona>> {
        if self.exits.mode() == Mode::Rotating {
            return self.board(self.base, self.wanted(false, false, None));
        }
        let now = Instant::now();
        let mut crew = self.crew();
        let seated = [self.place(true), self.place(false)].into_iter().find_map(|place| {
            let seat = self.seat(&mut crew, &place)?;
            seat.used = now;
            Some((place, Arc::clone(&seat.persona)))
        });
        match seated {
            Some((_, persona)) if !is_over(&persona, now) || self.around => Ok(persona),
            Some((place, before)) => {
                // One whose time was over has a successor by itself; one that was refused has not.
                let anew = before.session.as_ref().is_some_and(|session| !session.has_aged(now));
                let persona = self.board(&before, self.wanted(place.1.is_some(), anew, None))?;
                self.sit(&mut crew, place, &persona);
                Ok(persona)
            }
            None => {
                let apart = self.exits.mode() == Mode::PerHost;
                let persona = self.board(self.base, self.wanted(apart, false, None))?;
                self.sit(&mut crew, self.place(apart), &persona);
                Ok(persona)
            }
        }
    }

    fn wanted<'w>(&'w self, apart: bool, anew: bool, left: Option<&'w Session>) -> Wanted<'w> {
        let name = self.name.map(AsRef::as_ref);
        Wanted { name, site: &self.site, apart, anew, together: self.together, around: self.around, left }
    }

    fn sit(&self, crew: &mut HashMap<Place, Vec<Seat>>, place: Place, persona: &Arc<Persona>) {
        // A stopgap keeps no place: the next fetch looks for an exit again.
        if persona.is_stopgap {
            return;
        }
        sweep(crew);
        let seats = crew.entry(place).or_default();
        seats.retain(|seat| seat.look != *self.look);
        seats.push(Seat { look: self.look.clone(), persona: Arc::clone(persona), used: Instant::now() });
    }

    /// Somebody new by a new session, with what the caller gave `before`.
    fn board(&self, before: &Persona, wanted: Wanted<'_>) -> Result<Arc<Persona>> {
        match self.exits.draw(wanted) {
            Ok(session) => Ok(self.new_persona(Some(session), before)),
            Err(error) if self.exits.may_go_direct() => {
                tracing::warn!(cause = error.chain(), "goes without a proxy");
                Ok(self.new_persona(None, before))
            }
            Err(error) => Err(error),
        }
    }

    fn new_persona(&self, session: Option<Arc<Session>>, before: &Persona) -> Arc<Persona> {
        let route = session.as_ref().map_or_else(Route::default, |session| session.route().clone());
        let (plain, dressed) = self.shared.identities(self.name, self.look, &route, Some(&before.plain));
        let lasts = session.as_ref().is_some_and(|session| !session.is_fleeting());
        let who = lasts.then(|| Who::new(self.name.map(AsRef::as_ref), &dressed));
        Arc::new(Persona { plain, dressed, who, is_stopgap: session.is_none(), session })
    }

    /// Where this berth's personas sit: at the site, or wherever the user's session goes.
    fn place(&self, at_site: bool) -> Place {
        (self.name.cloned(), at_site.then(|| self.site.clone()))
    }

    fn seat<'c>(&self, crew: &'c mut HashMap<Place, Vec<Seat>>, place: &Place) -> Option<&'c mut Seat> {
        crew.get_mut(place)?.iter_mut().find(|seat| seat.look == *self.look)
    }

    /// Who sits at the site by now in place of `persona`, because another fetch replaced it.
    fn successor(&self, crew: &mut HashMap<Place, Vec<Seat>>, persona: &Persona) -> Option<Arc<Persona>> {
        let now = Instant::now();
        let mut places = [self.place(true), self.place(false)].into_iter();
        let seated = places.find_map(|place| Some(Arc::clone(&self.seat(crew, &place)?.persona)))?;
        let is_other = seated.dressed.key() != persona.dressed.key();
        (is_other && !is_over(&seated, now)).then_some(seated)
    }

    fn crew(&self) -> MutexGuard<'_, HashMap<Place, Vec<Seat>>> {
        lock(&self.shared.crew.0)
    }
}

impl Others for Berth<'_> {
    fn means(&self, persona: &Persona) -> Means {
        let Some(session) = persona.session.as_ref().filter(|_| !self.around) else {
            return Means::default();
        };
        Means {
            exit: self.exits.has_other(session),
            direct: self.exits.may_go_direct(),
            session: !session.is_fleeting() && session.knows(&self.site),
        }
    }

    fn session(&self, persona: &Persona) -> Result<Arc<Persona>> {
        let mut crew = self.crew();
        if let Some(other) = self.successor(&mut crew, persona) {
            return Ok(other);
        }
        let session = persona.session.clone().ok_or_else(|| {
            Error::new(ErrorKind::Proxy, "who goes without a proxy has no session to renew")
        })?;
        let fresh = self.new_persona(Some(session), persona);
        self.sit(&mut crew, self.place(true), &fresh);
        Ok(fresh)
    }

    fn exit(&self, persona: &Persona, faulty: bool) -> Result<Arc<Persona>> {
        let left = persona.session.as_deref();
        if self.exits.mode() == Mode::Rotating {
            return self.board(persona, self.wanted(false, true, left));
        }
        let mut crew = self.crew();
        if let Some(other) = self.successor(&mut crew, persona) {
            return Ok(other);
        }
        // What does not work is left for good; what one site refused is left there alone.
        let everywhere = faulty && is_over(persona, Instant::now());
        let has_own = self.seat(&mut crew, &self.place(true)).is_some();
        let apart = !everywhere || has_own || self.exits.mode() == Mode::PerHost;
        let fresh = self.board(persona, self.wanted(apart, true, left))?;
        self.sit(&mut crew, self.place(apart), &fresh);
        Ok(fresh)
    }
}

/// Whether a persona is to be replaced.
fn is_over(persona: &Persona, now: Instant) -> bool {
    persona.session.as_ref().is_none_or(|session| session.is_over(now))
}

/// Makes room: seats at single sites that were not used for long, and if need be half of the others. Those
/// that users named stay while somebody holds them; of the others the half that was used last.
fn sweep(crew: &mut HashMap<Place, Vec<Seat>>) {
    if crew.len() < MAX_PLACES {
        return;
    }
    let now = Instant::now();
    for ((_, site), seats) in crew.iter_mut() {
        seats.retain(|seat| site.is_none() || now.saturating_duration_since(seat.used) < IDLE);
    }
    crew.retain(|_, seats| !seats.is_empty());
    if crew.len() >= MAX_PLACES {
        let mut keep = false;
        crew.retain(|(_, site), _| {
            keep = !keep;
            keep || site.is_none()
        });
    }
    if crew.len() >= MAX_PLACES {
        let is_held = |seats: &[Seat]| seats.iter().any(|seat| Arc::strong_count(&seat.persona) > 1);
        let used = |seats: &[Seat]| seats.iter().map(|seat| seat.used).max();
        let mut idle: Vec<_> =
            crew.values().filter(|seats| !is_held(seats)).map(|seats| used(seats)).collect();
        idle.sort_unstable();
        if let Some(last) = idle.get(idle.len() / 2).copied() {
            // Who has no name is one, and used by whoever names none.
            crew.retain(|(name, _), seats| name.is_none() || is_held(seats) || used(seats) > last);
        }
    }
}

const MAX_PLACES: usize = if cfg!(test) { 64 } else { 4_096 };
/// A seat at a single site is given up after so long without use.
const IDLE: Duration = Duration::from_secs(30 * 60);

#[cfg(test)]
mod tests;
