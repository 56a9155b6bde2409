//! Every RPC of etcd 3.7 and of gRPC health, by path.

/// How requests and responses of a method travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// One request, one response.
    Unary,
    /// One request, many responses.
    ServerStream,
    /// Many of both.
    BidiStream,
}

impl Kind {
    /// The label `grpc_type` of the metrics.
    pub fn label(self) -> &'static str {
        match self {
            Kind::Unary => "unary",
            Kind::ServerStream => "server_stream",
            Kind::BidiStream => "bidi_stream",
        }
    }

    /// True when the method goes to `Services::open_stream`.
    pub fn is_stream(self) -> bool {
        self != Kind::Unary
    }
}

macro_rules! methods {
    ($($service:literal { $($variant:ident $name:literal $kind:ident,)+ })+) => {
        /// Every RPC. `as usize` counts from zero without gaps.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[expect(missing_docs, reason = "etcd's own names")]
        pub enum Method { $($($variant,)+)+ }

        impl Method {
            /// All of them, in the order of their numbers.
            pub const ALL: &'static [Method] = &[$($(Method::$variant,)+)+];

            /// The service's full name, for example `etcdserverpb.KV`.
            pub fn service(self) -> &'static str {
                match self { $($(Method::$variant)|+ => $service,)+ }
            }

            /// The method's name, for example `Range`.
            pub fn name(self) -> &'static str {
                match self { $($(Method::$variant => $name,)+)+ }
            }

            /// How its messages travel.
            pub fn kind(self) -> Kind {
                match self { $($(Method::$variant => Kind::$kind,)+)+ }
            }

            /// The method of a canonical path, for example `/etcdserverpb.KV/Range`. Nothing but the exact path matches.
            pub fn find(path: &[u8]) -> Option<Method> {
                $($(const _: () = assert!(concat!("/", $service, "/", $name).len() < 64);)+)+
                match path {
                    $($(path if path == concat!("/", $service, "/", $name).as_bytes() => Some(Method::$variant),)+)+
                    _ => None,
                }
            }

            /// True when `name` is a service listed here.
            pub fn is_service(name: &str) -> bool {
                matches!(name, $($service)|+)
            }
        }
    };
}

methods! {
    "etcdserverpb.KV" {
        Range "Range" Unary,
        Put "Put" Unary,
        Txn "Txn" Unary,
        DeleteRange "DeleteRange" Unary,
        RangeStream "RangeStream" ServerStream,
        Compact "Compact" Unary,
    }
    "etcdserverpb.Watch" {
        Watch "Watch" BidiStream,
    }
    "etcdserverpb.Lease" {
        LeaseGrant "LeaseGrant" Unary,
        LeaseRevoke "LeaseRevoke" Unary,
        LeaseKeepAlive "LeaseKeepAlive" BidiStream,
        LeaseTimeToLive "LeaseTimeToLive" Unary,
        LeaseLeases "LeaseLeases" Unary,
    }
    "etcdserverpb.Cluster" {
        MemberAdd "MemberAdd" Unary,
        MemberRemove "MemberRemove" Unary,
        MemberUpdate "MemberUpdate" Unary,
        MemberList "MemberList" Unary,
        MemberPromote "MemberPromote" Unary,
    }
    "etcdserverpb.Maintenance" {
        Alarm "Alarm" Unary,
        Status "Status" Unary,
        Defragment "Defragment" Unary,
        Hash "Hash" Unary,
        HashKv "HashKV" Unary,
        Snapshot "Snapshot" ServerStream,
        MoveLeader "MoveLeader" Unary,
        Downgrade "Downgrade" Unary,
    }
    "etcdserverpb.Auth" {
        AuthEnable "AuthEnable" Unary,
        AuthDisable "AuthDisable" Unary,
        AuthStatus "AuthStatus" Unary,
        Authenticate "Authenticate" Unary,
        UserAdd "UserAdd" Unary,
        UserGet "UserGet" Unary,
        UserList "UserList" Unary,
        UserDelete "UserDelete" Unary,
        UserChangePassword "UserChangePassword" Unary,
        UserGrantRole "UserGrantRole" Unary,
        UserRevokeRole "UserRevokeRole" Unary,
        RoleAdd "RoleAdd" Unary,
        RoleGet "RoleGet" Unary,
        RoleList "RoleList" Unary,
        RoleDelete "RoleDelete" Unary,
        RoleGrantPermission "RoleGrantPermission" Unary,
        RoleRevokePermission "RoleRevokePermission" Unary,
    }
    "v3lockpb.Lock" {
        Lock "Lock" Unary,
        Unlock "Unlock" Unary,
    }
    "v3electionpb.Election" {
        Campaign "Campaign" Unary,
        Proclaim "Proclaim" Unary,
        Leader "Leader" Unary,
        Observe "Observe" ServerStream,
        Resign "Resign" Unary,
    }
    "grpc.health.v1.Health" {
        HealthCheck "Check" Unary,
        HealthWatch "Watch" ServerStream,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn every_path_finds_its_method_and_nothing_else_does() {
        for (number, &method) in Method::ALL.iter().enumerate() {
            assert_eq!(method as usize, number);
            let path = format!("/{}/{}", method.service(), method.name());
            assert_eq!(Method::find(path.as_bytes()), Some(method));
            let upper = path.to_uppercase();
            for wrong in
                [&path[1..], &format!("{path}/"), &format!("/{path}"), &upper, &path.replace('/', "%2f")]
            {
                assert_eq!(Method::find(wrong.as_bytes()), None, "{wrong}");
            }
        }
    }

    #[test]
    fn the_table_is_the_proto_files() {
        let ours: BTreeMap<String, (bool, bool)> = Method::ALL
            .iter()
            .map(|method| {
                let path = format!("/{}/{}", method.service(), method.name());
                (path, (method.kind() == Kind::BidiStream, method.kind() != Kind::Unary))
            })
            .collect();
        let etcd = ["/etcdserverpb.", "/v3lockpb.", "/v3electionpb.", "/grpc.health."];
        let theirs: BTreeMap<String, (bool, bool)> = api::METHODS
            .iter()
            .filter(|rpc| etcd.iter().any(|prefix| rpc.path.starts_with(prefix)))
            .map(|rpc| (rpc.path.to_string(), (rpc.client_streaming, rpc.server_streaming)))
            .collect();
        assert_eq!(ours, theirs);
    }
}
