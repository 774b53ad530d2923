//! What of a connection its guests' signatures still look at, and so what the kernel may keep to itself.
//!
//! | spoken | to the server | to the client |
//! |---|---|---|
//! | not known yet | looked at, if a signature that its ports fit may want what it turns out to be | likewise |
//! | HTTP | while a signature looks at it in either direction | while one looks at responses, or one is awaited that may change the protocol |
//! | another, parsed | while a signature looks at it, or what it may lead to, in either direction | likewise |
//! | anything encrypted by both ends | while a signature looks at bare headers | likewise |
//! | nothing known | while a signature looks at streams or packets whatever is spoken | likewise |
//!
//! What was let through is never gone back to; a new policy, or an awaited response, makes the engine look again
//! from the next segment on, and so does a match that has the packets behind it logged (`tag`).
use crate::app::{AppProto, Parser};
use crate::detect::Home;
use crate::flow::Flow;
use crate::policy::{Needs, Role};
use crate::Direction;

use super::conversation::{AppState, Conversation, TcpLayer};
use super::{Clear, Desk};

/// One guest's view of a connection.
struct View<'a> {
    needs: &'a Needs,
    role: Role,
    own: u16,
    peer: u16,
}

impl Desk {
    /// Settles what of the flow is looked at from now on, and returns what is not.
    pub(super) fn steer(&self, flow: &mut Flow<Conversation>) -> Clear {
        if !self.settings.inline {
            return Clear::default();
        }
        let clear = self.unneeded(flow);
        let untold = clear.directions != [false; 2] && self.needs_no_protocol(flow);
        let conversation = &mut flow.data;
        let Some(layer) = conversation.tcp.as_deref_mut() else {
            return Clear::default();
        };
        if untold && matches!(layer.app, AppState::Detecting) {
            layer.app = AppState::Other(None);
            conversation.untold = true;
        }
        if let Some(parser) = layer.app.parser_mut() {
            parser.skip_answers(clear.directions[Direction::ToClient as usize]);
        }
        for direction in Direction::BOTH {
            match clear.directions[direction as usize] {
                true => layer.session.look_away(direction),
                false => layer.session.look_again(direction),
            }
        }
        clear
    }

    /// Which directions nobody looks at.
    fn unneeded(&self, flow: &Flow<Conversation>) -> Clear {
        let Some(layer) = flow.data.tcp.as_deref() else {
            return Clear::default();
        };
        // Who opened a connection whose beginning was not seen is a guess.
        let placed = !flow.midstream || flow.data.placed;
        let known = placed && !flow.data.sides.is_empty() && !flow.data.dropped;
        let logged = self.settings.records.are_of_flows() || flow.data.detect.is_tagged();
        if logged || !known {
            return Clear::default();
        }
        let sealed = layer.app.parser().is_some_and(Parser::is_sealed);
        let directions = Direction::BOTH.map(|direction| {
            // What is held past a hole is still to be shown.
            let open = layer.session.has_hole(direction) || flow.packets[direction as usize] == 0;
            let wanted = self
                .looks(flow)
                .any(|it| it.is_none_or(|it| it.wants(layer, sealed, direction)));
            !wanted && (!open || !self.at_first(flow, direction))
        });
        Clear {
            directions,
            encrypted: sealed,
        }
    }

    /// Whether `direction` is looked at while nothing is known but the ports.
    fn at_first(&self, flow: &Flow<Conversation>, direction: Direction) -> bool {
        self.looks(flow)
            .any(|it| it.is_none_or(|it| it.at_first(direction)))
    }

    /// Whether nobody asks what is spoken between these ports.
    fn needs_no_protocol(&self, flow: &Flow<Conversation>) -> bool {
        self.looks(flow)
            .all(|it| it.is_some_and(|it| !it.needs.any_protocol(it.role, it.own, it.peer)))
    }

    /// The guests' views of the flow; `None` where what is needed is not known.
    fn looks<'a>(&'a self, flow: &'a Flow<Conversation>) -> impl Iterator<Item = Option<View<'a>>> {
        let (client, server) = (flow.client.port, flow.server().port);
        flow.data.sides.iter().flat_map(move |side| {
            let roles: &[Role] = match side.home {
                Home::Server => &[Role::Server],
                Home::Client => &[Role::Client],
                Home::Both | Home::Addresses => &[Role::Server, Role::Client],
            };
            roles.iter().map(move |role| {
                let (own, peer) = match role {
                    Role::Server => (server, client),
                    Role::Client => (client, server),
                };
                let needs = self.policy.needs(side.shield)?;
                Some(View {
                    needs,
                    role: *role,
                    own,
                    peer,
                })
            })
        })
    }
}

impl View<'_> {
    fn at_first(&self, direction: Direction) -> bool {
        self.needs.at_first(self.role, self.own, self.peer)[direction as usize]
    }

    fn raw(&self, direction: Direction) -> bool {
        self.needs.raw(self.role, self.own, self.peer, direction)
    }

    fn either(&self, app: AppProto) -> bool {
        Direction::BOTH
            .into_iter()
            .any(|direction| self.needs.app(self.role, app, direction))
    }

    fn wants(&self, layer: &TcpLayer, sealed: bool, direction: Direction) -> bool {
        if !self.at_first(direction) {
            return false;
        }
        if sealed {
            return self
                .needs
                .headers(self.role, self.own, self.peer, direction);
        }
        self.raw(direction)
            || match &layer.app {
                AppState::Detecting => true,
                AppState::Parsed(app, parser) => {
                    self.either(*app)
                        && (direction == Direction::ToServer
                            || self.needs.messages(self.role, *app, direction)
                            || parser.awaits_answers())
                }
                AppState::Other(Some(app)) => self.either(*app),
                AppState::Other(None) => self.needs.unknown(self.role, direction),
            }
    }
}
