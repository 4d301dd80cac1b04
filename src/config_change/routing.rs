//! Changes of routes: which files they touch, in which order, and whether HAProxy has to be reloaded.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::archive::How;
use super::desk::{Activated, ChangeError, Content, Desk, Done, Peer, Wish};
use super::files;
use super::history::What;
use super::lock::pause;
use super::routes::{Routes, Texts};
use crate::haproxy::MapFile;

/// Two renames are milliseconds apart.
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);
const LOOKS: usize = 25;

/// The two files of the routes.
#[derive(Clone, Debug)]
pub struct Places {
    /// The backends, one of the files that HAProxy is started with.
    pub backends: PathBuf,
    /// The map that the operator's frontend uses.
    pub map: MapFile,
}

impl Places {
    /// The table that the files hold; empty where there are none.
    pub fn load(&self) -> Result<Routes, ChangeError> {
        Ok(self.texts()?.map_or_else(|| Ok(Routes::default()), |texts| Routes::parse(&texts))?)
    }

    /// The same for those who only look: a change is between its two files for a moment, which is waited out. Blocks for
    /// half a second at most.
    pub fn look(&self) -> Result<Routes, ChangeError> {
        for _ in 0..LOOKS {
            match self.load() {
                Err(ChangeError::Routes(_)) => pause(BETWEEN_LOOKS),
                found => return found,
            }
        }
        self.load()
    }

    fn texts(&self) -> Result<Option<Texts>, ChangeError> {
        let text = |path: &Path| {
            Ok::<_, ChangeError>(files::read(path)?.map(|b| String::from_utf8_lossy(&b).into_owned()))
        };
        let (backends, map) = (text(&self.backends)?, text(self.map.path())?);
        // An empty file is as good as none: it may have been made so that HAProxy would start.
        let is_nothing = |text: &Option<String>| text.as_ref().is_none_or(|text| text.trim().is_empty());
        if is_nothing(&backends) && is_nothing(&map) {
            return Ok(None);
        }
        Ok(Some(Texts { backends: backends.unwrap_or_default(), map: map.unwrap_or_default() }))
    }

    /// Makes what is missing, so that HAProxy can be started with it. Gives what was made.
    pub fn found(&self) -> Result<Vec<PathBuf>, ChangeError> {
        let Texts { backends, map } = Routes::default().texts();
        let mut made = Vec::new();
        for (path, text) in [(self.backends.as_path(), backends), (self.map.path(), map)] {
            if files::read(path)?.is_none() {
                let draft = files::draft_of(path);
                files::write(&draft, text.as_bytes(), 0o644, path.parent().unwrap_or(path))?;
                files::rename(&draft, path)?;
                made.push(path.to_owned());
            }
        }
        Ok(made)
    }
}

impl<P: Peer> Desk<P> {
    /// Changes the table of routes. `expected` is the tag that the table must have for that, if it matters.
    pub fn route(
        &mut self,
        places: &Places,
        note: &str,
        expected: Option<&str>,
        change: impl FnOnce(&mut Routes) -> Result<(), ChangeError>,
    ) -> Result<Done, ChangeError> {
        if !self.set.takes(&places.backends) {
            return Err(ChangeError::Refused(unread(&places.backends)));
        }
        let old = places.load()?;
        if let Some(tag) = expected.filter(|tag| *tag != old.tag()) {
            return Err(ChangeError::Outdated(format!(
                "the routes are at version {} by now, not {tag}; look at them again",
                old.tag()
            )));
        }
        let mut new = old.clone();
        change(&mut new)?;
        self.peer.ready().map_err(ChangeError::NotReady)?;
        // A command that was killed may have left the running map behind its file; and a map that nobody uses
        // would route nothing.
        match self.peer.activate(&How::Map(places.map.path().to_owned())) {
            Activated::Worked => {}
            Activated::Failed(why) => return Err(ChangeError::Refused(why)),
            Activated::Nobody(why) => return Err(ChangeError::NotReady(why)),
        }
        if new == old {
            return Ok(Done { version: None, is_reloaded: false });
        }
        let wish = wish(places, note, &old, &new);
        self.change(wish)
    }
}

/// A backend is there before the first line of the map that names it, and longer than the last one: whenever HAProxy
/// is started in between, it finds routes that lead somewhere.
fn wish(places: &Places, note: &str, old: &Routes, new: &Routes) -> Wish {
    let Texts { backends, map } = new.texts();
    let backends = (places.backends.clone(), Some(Content::from(backends.into_bytes())));
    let map = (places.map.path().to_owned(), Some(Content::from(map.into_bytes())));
    let needs_all_of_old = old.backends().is_subset(&new.backends());
    let (how, files) = match old.backends() == new.backends() {
        true => (How::Map(places.map.path().to_owned()), vec![map]),
        false if needs_all_of_old => (How::Reload, vec![backends, map]),
        false => (How::Reload, vec![map, backends]),
    };
    Wish { what: What::Routes, note: note.to_owned(), how, files }
}

fn unread(path: &Path) -> String {
    let path = path.display();
    format!(
        "HAProxy is not started with `{path}`: start it with a further `-f {path}` (Debian: EXTRAOPTS in \
         /etc/default/haproxy) and pass the same `-f` here, beside that of the main file"
    )
}

#[cfg(test)]
mod tests {
    use super::super::route::Target;
    use super::*;

    fn places() -> Places {
        Places { backends: "/r/backends.cfg".into(), map: MapFile::new(Path::new("/r/hosts.map")).unwrap() }
    }

    fn table(list: &[(&str, &str)]) -> Routes {
        let mut routes = Routes::default();
        for (host, url) in list {
            routes.add(host.parse().unwrap(), Target::new(url, None).unwrap(), false).unwrap();
        }
        routes
    }

    fn order(old: &[(&str, &str)], new: &[(&str, &str)]) -> (bool, Vec<String>) {
        let wish = wish(&places(), "", &table(old), &table(new));
        let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
        (wish.how == How::Reload, wish.files.iter().map(|(path, _)| name(path)).collect())
    }

    #[test]
    fn only_a_backend_that_comes_or_goes_takes_a_reload_and_it_is_there_as_long_as_it_is_named() {
        let (a, b, other) = (("a", "http://x:1"), ("b", "http://x:1"), ("b", "http://x:2"));
        assert_eq!(order(&[a], &[a, b]), (false, vec!["hosts.map".into()]));
        assert_eq!(order(&[a, b], &[a]), (false, vec!["hosts.map".into()]));
        assert_eq!(order(&[a], &[a, other]), (true, vec!["backends.cfg".into(), "hosts.map".into()]));
        assert_eq!(order(&[a, other], &[a]), (true, vec!["hosts.map".into(), "backends.cfg".into()]));
    }
}
