//! Names of what key exchanges number.

/// Payloads of version 1. Source: RFC 2408, 3.1; RFC 3547, 5; RFC 3947, 3.
pub(super) fn payload1(number: u8) -> Option<&'static str> {
    Some(match number {
        1 => "SecurityAssociation",
        2 => "Proposal",
        3 => "Transform",
        4 => "KeyExchange",
        5 => "Identification",
        6 => "Certificate",
        7 => "CertificateRequest",
        8 => "Hash",
        9 => "Signature",
        10 => "Nonce",
        11 => "Notification",
        12 => "Delete",
        13 => "VendorID",
        15 => "SaKekPayload",
        16 => "SaTekPayload",
        17 => "KeyDownload",
        18 => "SequenceNumber",
        19 => "ProofOfPossession",
        20 => "NatDiscovery",
        21 => "NatOriginalAddress",
        22 => "GroupAssociatedPolicy",
        _ => return None,
    })
}

/// Payloads of version 2. Source: RFC 7296, 3.2.
pub(super) fn payload2(number: u8) -> String {
    let name = match number {
        0 => "NoNextPayload",
        33 => "SecurityAssociation",
        34 => "KeyExchange",
        35 => "IdentInitiator",
        36 => "IdentResponder",
        37 => "Certificate",
        38 => "CertificateRequest",
        39 => "Authentication",
        40 => "Nonce",
        41 => "Notify",
        42 => "Delete",
        43 => "VendorID",
        44 => "TrafficSelectorInitiator",
        45 => "TrafficSelectorResponder",
        46 => "EncryptedAndAuthenticated",
        47 => "Configuration",
        48 => "ExtensibleAuthentication",
        other => return format!("IkePayloadType({other} / 0x{other:x})"),
    };
    name.into()
}

/// Attributes of version 1, as rules and EVE name them. Source: RFC 2409, A.
pub(super) const ATTRIBUTES: [&str; 17] = [
    "unknown",
    "alg_enc",
    "alg_hash",
    "alg_auth",
    "alg_dh",
    "sa_group_type",
    "sa_group_prime",
    "sa_group_generator_one",
    "sa_group_generator_two",
    "sa_group_curve_a",
    "sa_group_curve_b",
    "sa_life_type",
    "sa_life_duration",
    "alg_prf",
    "sa_key_length",
    "sa_field_size",
    "sa_group_order",
];

/// The value of an attribute of version 1. Source: IANA, Internet Key Exchange Attributes.
pub(super) fn value(attribute: u16, value: u16) -> &'static str {
    const ENCRYPTION: &[&str] = &[
        "EncDesCbc",
        "EncIdeaCbc",
        "EncBlowfishCbc",
        "EncRc5R16B64Cbc",
        "EncTripleDesCbc",
        "EncCastCbc",
        "EncAesCbc",
        "EncCamelliaCbc",
    ];
    const HASH: &[&str] = &[
        "HashMd5",
        "HashSha",
        "HashTiger",
        "HashSha2_256",
        "HashSha2_384",
        "HashSha2_512",
    ];
    const AUTHENTICATION: &[&str] = &[
        "AuthPreSharedKey",
        "AuthDssSignatures",
        "AuthRsaSignatures",
        "AuthEncryptionWithRsa",
        "AuthRevisedEncryptionWithRsa",
        "AuthReserved",
        "AuthReserved",
        "AuthReserved",
        "AuthEcdsaSha256",
        "AuthEcdsaSha384",
        "AuthEcdsaSha512",
    ];
    const GROUP: &[&str] = &[
        "GroupDefault768BitModp",
        "GroupAlternate1024BitModpGroup",
        "GroupEc2nOnGp2p155",
        "GroupEc2nOnGp2p185",
        "GroupModp1536Bit",
        "GroupEc2nOverGf2p163",
        "GroupEc2nOverGf2p163",
        "GroupEc2nOverGf2p283",
        "GroupEc2nOverGf2p283",
        "GroupEc2nOverGf2p409",
        "GroupEc2nOverGf2p409",
        "GroupEc2nOverGf2p571",
        "GroupEc2nOverGf2p571",
        "GroupModp2048Bit",
        "GroupModp3072Bit",
        "GroupModp4096Bit",
        "GroupModp6144Bit",
        "GroupModp8192Bit",
        "GroupRandomEcp256",
        "GroupRandomEcp384",
        "GroupRandomEcp521",
        "GroupModp1024With160BitPrime",
        "GroupModp2048With224BitPrime",
        "GroupModp2048With256BitPrime",
        "GroupRandomEcp192",
        "GroupRandomEcp224",
        "GroupBrainpoolEcp224",
        "GroupBrainpoolEcp256",
        "GroupBrainpoolEcp384",
        "GroupBrainpoolEcp512",
    ];
    const LIFE: &[&str] = &["LifeTypeSeconds", "LifeTypeKilobytes"];
    let names = match attribute {
        1 => ENCRYPTION,
        2 => HASH,
        3 => AUTHENTICATION,
        4 => GROUP,
        11 => LIFE,
        _ => &[],
    };
    let at = usize::from(value).checked_sub(1);
    at.and_then(|at| names.get(at))
        .copied()
        .unwrap_or("Unknown")
}

/// Algorithms of version 2, by kind. Source: IANA, Internet Key Exchange Version 2 Parameters.
pub(super) fn algorithm(kind: u8, number: u16) -> String {
    const ENCRYPTION: [&str; 29] = [
        "",
        "ENCR_DES_IV64",
        "ENCR_DES",
        "ENCR_3DES",
        "ENCR_RC5",
        "ENCR_IDEA",
        "ENCR_CAST",
        "ENCR_BLOWFISH",
        "ENCR_3IDEA",
        "ENCR_DES_IV32",
        "",
        "ENCR_NULL",
        "ENCR_AES_CBC",
        "ENCR_AES_CTR",
        "ENCR_AES_CCM_8",
        "ENCR_AES_CCM_12",
        "ENCR_AES_CCM_16",
        "",
        "ENCR_AES_GCM_8",
        "ENCR_AES_GCM_12",
        "ENCR_AES_GCM_16",
        "ENCR_NULL_AUTH_AES_GMAC",
        "",
        "ENCR_CAMELLIA_CBC",
        "ENCR_CAMELLIA_CTR",
        "ENCR_CAMELLIA_CCM_8",
        "ENCR_CAMELLIA_CCM_12",
        "ENCR_CAMELLIA_CCM_16",
        "ENCR_CHACHA20_POLY1305",
    ];
    const RANDOM: [&str; 9] = [
        "PRF_NULL",
        "PRF_HMAC_MD5",
        "PRF_HMAC_SHA1",
        "PRF_HMAC_TIGER",
        "PRF_AES128_XCBC",
        "PRF_HMAC_SHA2_256",
        "PRF_HMAC_SHA2_384",
        "PRF_HMAC_SHA2_512",
        "PRF_AES128_CMAC",
    ];
    const INTEGRITY: [&str; 15] = [
        "NONE",
        "AUTH_HMAC_MD5_96",
        "AUTH_HMAC_SHA1_96",
        "AUTH_DES_MAC",
        "AUTH_KPDK_MD5",
        "AUTH_AES_XCBC_96",
        "AUTH_HMAC_MD5_128",
        "AUTH_HMAC_SHA1_160",
        "AUTH_AES_CMAC_96",
        "AUTH_AES_128_GMAC",
        "AUTH_AES_192_GMAC",
        "AUTH_AES_256_GMAC",
        "AUTH_HMAC_SHA2_256_128",
        "AUTH_HMAC_SHA2_384_192",
        "AUTH_HMAC_SHA2_512_256",
    ];
    const GROUP: [&str; 33] = [
        "None",
        "Modp768",
        "Modp1024",
        "",
        "",
        "Modp1536",
        "",
        "",
        "",
        "",
        "",
        "",
        "",
        "",
        "Modp2048",
        "Modp3072",
        "Modp4096",
        "Modp6144",
        "Modp8192",
        "Ecp256",
        "Ecp384",
        "Ecp521",
        "Modp1024s160",
        "Modp2048s224",
        "Modp2048s256",
        "Ecp192",
        "Ecp224",
        "BrainpoolP224r1",
        "BrainpoolP256r1",
        "BrainpoolP384r1",
        "BrainpoolP512r1",
        "Curve25519",
        "Curve448",
    ];
    const EXTENDED_NUMBERS: [&str; 2] = ["NoESN", "ESN"];
    let (family, names): (_, &[&str]) = match kind {
        1 => ("Enc", &ENCRYPTION),
        2 => ("PRF", &RANDOM),
        3 => ("Auth", &INTEGRITY),
        4 => ("DH", &GROUP),
        _ => ("ESN", &EXTENDED_NUMBERS),
    };
    match names.get(usize::from(number)) {
        Some(name) if !name.is_empty() => (*name).into(),
        _ => format!("IkeTransform{family}Type({number} / 0x{number:x})"),
    }
}

/// Notifications of version 2. Source: RFC 7296, 3.10.1.
pub(super) fn notification(number: u16) -> String {
    const STATUS: [&str; 18] = [
        "INITIAL_CONTACT",
        "SET_WINDOW_SIZE",
        "ADDITIONAL_TS_POSSIBLE",
        "IPCOMP_SUPPORTED",
        "NAT_DETECTION_SOURCE_IP",
        "NAT_DETECTION_DESTINATION_IP",
        "COOKIE",
        "USE_TRANSPORT_MODE",
        "HTTP_CERT_LOOKUP_SUPPORTED",
        "REKEY_SA",
        "ESP_TFC_PADDING_NOT_SUPPORTED",
        "NON_FIRST_FRAGMENTS_ALSO",
        "MOBIKE_SUPPORTED",
        "ADDITIONAL_IP4_ADDRESS",
        "ADDITIONAL_IP6_ADDRESS",
        "NO_ADDITIONAL_ADDRESSES",
        "UPDATE_SA_ADDRESSES",
        "COOKIE2",
    ];
    let name = match number {
        1 => "UNSUPPORTED_CRITICAL_PAYLOAD",
        4 => "INVALID_IKE_SPI",
        5 => "INVALID_MAJOR_VERSION",
        7 => "INVALID_SYNTAX",
        9 => "INVALID_MESSAGE_ID",
        11 => "INVALID_SPI",
        14 => "NO_PROPOSAL_CHOSEN",
        17 => "INVALID_KE_PAYLOAD",
        24 => "AUTHENTICATION_FAILED",
        34 => "SINGLE_PAIR_REQUIRED",
        35 => "NO_ADDITIONAL_SAS",
        36 => "INTERNAL_ADDRESS_FAILURE",
        37 => "FAILED_CP_REQUIRED",
        38 => "TS_UNACCEPTABLE",
        39 => "INVALID_SELECTORS",
        43 => "TEMPORARY_FAILURE",
        44 => "CHILD_SA_NOT_FOUND",
        other => {
            let status = other.checked_sub(16_384).map(usize::from);
            match status.and_then(|at| STATUS.get(at)) {
                Some(name) => name,
                None => return format!("NotifyType({other} / 0x{other:x})"),
            }
        }
    };
    name.into()
}
