/* Single packet authorization: one knock becomes one packet, and back.
 *
 *     spa_request knock = { .user = "alice", .allow = "198.51.100.7", .ports = "tcp/22", .time = time(NULL) };
 *     spa_keys keys = { .key = "c2VrcmV0", .hmac_key = "aG1hY3NlY3JldA==", .is_base64 = 1 };
 *     char packet[SPA_PACKET_SIZE];
 *     if (spa_seal(&knock, &keys, random, packet, sizeof packet) != SPA_OK)
 *         fprintf(stderr, "%s (%s)\n", spa_error_text(), spa_error_reason());
 *     else
 *         send it as one UDP datagram of strlen(packet) bytes to port 62201.
 *
 * Nothing here opens a socket or a file, reads a clock, or draws random numbers: time and 32 fresh random bytes are arguments.
 * All texts are UTF-8 and end with a NUL. No pointer is kept, nothing has to be freed but what spa_open gives.
 * Texts longer than SPA_TEXT_LIMIT are refused. All functions may be called from any thread. Keys are wiped after use inside.
 */
#ifndef SPA_H
#define SPA_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SPA_PACKET_SIZE 1500 /* a buffer that holds any packet, with its NUL */
#define SPA_RANDOM_SIZE 32   /* random bytes for one packet */
#define SPA_TEXT_LIMIT 4096  /* bytes of any text that comes in */

enum spa_result {
    SPA_OK = 0,
    SPA_MISUSE = 1,  /* a pointer that must not be null, a text that is too long or no UTF-8, a buffer that is too small */
    SPA_KEY = 2,     /* a key that cannot be used */
    SPA_REQUEST = 3, /* a field that cannot be sent, or a packet that every server would drop */
    SPA_PACKET = 4   /* a packet that cannot be opened with these keys: not meant for us, altered, or no packet */
};

/* Digests, inside the packet and for the HMAC. 0 means SHA-256. */
enum spa_digest {
    SPA_MD5 = 1, SPA_SHA1 = 2, SPA_SHA256 = 3, SPA_SHA384 = 4, SPA_SHA512 = 5, SPA_SHA3_256 = 6, SPA_SHA3_512 = 7
};

/* What a client and a server share. */
typedef struct spa_keys {
    const char *key;      /* encrypts: 1 to 32 bytes */
    const char *hmac_key; /* authenticates: 1 to 136 bytes; null for none (then anybody can alter a packet) */
    int is_base64;        /* whether both are base64 (padded or not) instead of text */
    int hmac_digest;      /* enum spa_digest */
} spa_keys;

/* What is asked for. Fields that are null or 0 are left out, where that is allowed. */
typedef struct spa_request {
    const char *user;    /* who asks; must be there, 1 to 48 bytes */
    const char *allow;   /* whom to let in, IPv4 or IPv6; null: wherever the packet comes from */
    const char *ports;   /* "tcp/22,udp/53"; must be there */
    const char *nat;     /* "192.168.10.2,22": forward to there; null: no NAT */
    uint64_t time;       /* seconds since 1970; the server compares it with its own clock */
    uint32_t timeout;    /* seconds to keep the ports open; 0: as the server likes */
    int digest;          /* enum spa_digest, of the digest inside */
} spa_request;

/* Writes a packet and a NUL into `packet`. `random` are SPA_RANDOM_SIZE bytes from the system's generator, new for each packet. */
int spa_seal(const spa_request *request, const spa_keys *keys, const unsigned char *random, char *packet, size_t size);

/* What a packet said. */
typedef struct spa_knock spa_knock;

/* Opens a packet of `length` bytes, as it came off the wire. With SPA_OK *knock must be freed; otherwise it is null. */
int spa_open(const unsigned char *packet, size_t length, const spa_keys *keys, spa_knock **knock);

/* What it said. The texts live as long as the knock. A null knock gives null and 0. */
const char *spa_knock_user(const spa_knock *knock);
const char *spa_knock_allow(const spa_knock *knock);   /* "0.0.0.0": wherever the packet came from */
const char *spa_knock_message(const spa_knock *knock); /* "198.51.100.7,tcp/22", or with a command instead of ports */
const char *spa_knock_ports(const spa_knock *knock);   /* null for a command */
const char *spa_knock_command(const spa_knock *knock); /* null for ports */
const char *spa_knock_nat(const spa_knock *knock);     /* null: no NAT */
const char *spa_knock_nonce(const spa_knock *knock);   /* 16 digits */
const char *spa_knock_version(const spa_knock *knock); /* of the protocol */
int spa_knock_type(const spa_knock *knock);            /* message type on the wire, 0 to 6; -1 for a null knock */
uint64_t spa_knock_time(const spa_knock *knock);       /* seconds since 1970 */
uint32_t spa_knock_timeout(const spa_knock *knock);    /* seconds; 0: none was asked for */
const char *spa_knock_digest(const spa_knock *knock);  /* name of the packet: one that comes twice is a replay, and must be refused */
void spa_knock_free(spa_knock *knock);                 /* null is allowed */

/* Why the last call of this thread that gave a spa_result failed, for people; "" after SPA_OK. Valid until the next such call of this thread. */
const char *spa_error_text(void);
/* The same as a stable code, such as "E_HMAC"; "" if there is none. */
const char *spa_error_reason(void);

/* Version of this library, such as "0.1.0". */
const char *spa_library_version(void);

#ifdef __cplusplus
}
#endif
#endif
