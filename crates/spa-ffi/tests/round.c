/* Everything in spa.h, used as a stranger would use it. Prints the packet; ends with the line number of what failed. */
#include <stdio.h>
#include <string.h>

#include "spa.h"

#define CHECK(what) do { if (!(what)) { fprintf(stderr, "line %d: %s; last error: %s (%s)\n", __LINE__, #what, spa_error_text(), spa_error_reason()); return 1; } } while (0)

int main(void)
{
    unsigned char random[SPA_RANDOM_SIZE];
    char packet[SPA_PACKET_SIZE];
    char altered[SPA_PACKET_SIZE];
    char longtext[SPA_TEXT_LIMIT + 2];
    spa_knock *knock = (spa_knock *)packet;
    spa_keys keys = { .key = "c2VrcmV0", .hmac_key = "aG1hY3NlY3JldA==", .is_base64 = 1 };
    spa_keys texts = { .key = "sekret", .hmac_key = "hmacsecret", .hmac_digest = SPA_SHA256 };
    spa_keys others = { .key = "sekret", .hmac_key = "another" };
    spa_request request = { .user = "alice", .allow = "198.51.100.7", .ports = "tcp/22,udp/53",
                            .nat = "192.168.10.2,22", .time = 1700000000, .timeout = 60, .digest = SPA_SHA1 };
    for (size_t i = 0; i < sizeof random; i++) random[i] = (unsigned char)(i * 7 + 1);
    memset(longtext, 'x', sizeof longtext);
    longtext[sizeof longtext - 1] = 0;

    CHECK(strlen(spa_library_version()) >= 5);
    CHECK(spa_seal(&request, &keys, random, packet, sizeof packet) == SPA_OK);
    CHECK(strcmp(spa_error_text(), "") == 0 && strcmp(spa_error_reason(), "") == 0);
    CHECK(strlen(packet) >= 140 && strlen(packet) < 400);

    CHECK(spa_open((unsigned char *)packet, strlen(packet), &texts, &knock) == SPA_OK);
    CHECK(strcmp(spa_knock_user(knock), "alice") == 0);
    CHECK(strcmp(spa_knock_allow(knock), "198.51.100.7") == 0);
    CHECK(strcmp(spa_knock_message(knock), "198.51.100.7,tcp/22,udp/53") == 0);
    CHECK(strcmp(spa_knock_ports(knock), "tcp/22,udp/53") == 0);
    CHECK(spa_knock_command(knock) == NULL);
    CHECK(strcmp(spa_knock_nat(knock), "192.168.10.2,22") == 0);
    CHECK(strlen(spa_knock_nonce(knock)) == 16);
    CHECK(strcmp(spa_knock_version(knock), "3.0.0") == 0);
    CHECK(strlen(spa_knock_digest(knock)) == 43);
    CHECK(spa_knock_type(knock) == 4 && spa_knock_time(knock) == 1700000000 && spa_knock_timeout(knock) == 60);
    spa_knock_free(knock);

    /* Not meant for us, altered, no packet. */
    CHECK(spa_open((unsigned char *)packet, strlen(packet), &others, &knock) == SPA_PACKET && knock == NULL);
    CHECK(strcmp(spa_error_reason(), "E_HMAC") == 0);
    strcpy(altered, packet);
    altered[20] = altered[20] == 'A' ? 'B' : 'A';
    CHECK(spa_open((unsigned char *)altered, strlen(altered), &keys, &knock) == SPA_PACKET && knock == NULL);
    CHECK(spa_open((unsigned char *)"", 0, &keys, &knock) == SPA_PACKET);
    CHECK(spa_open((unsigned char *)packet, (size_t)-1, &keys, &knock) == SPA_MISUSE);
    memset(altered, 0xff, sizeof altered);
    CHECK(spa_open((unsigned char *)altered, sizeof altered, &keys, &knock) == SPA_PACKET);

    /* Nulls. */
    CHECK(spa_seal(NULL, &keys, random, packet, sizeof packet) == SPA_MISUSE);
    CHECK(spa_seal(&request, NULL, random, packet, sizeof packet) == SPA_MISUSE);
    CHECK(spa_seal(&request, &keys, NULL, packet, sizeof packet) == SPA_MISUSE);
    CHECK(spa_seal(&request, &keys, random, NULL, 0) == SPA_MISUSE);
    CHECK(spa_open(NULL, 5, &keys, &knock) == SPA_MISUSE && spa_open((unsigned char *)packet, 5, NULL, &knock) == SPA_MISUSE);
    CHECK(spa_open((unsigned char *)packet, 5, &keys, NULL) == SPA_MISUSE);
    CHECK(spa_knock_user(NULL) == NULL && spa_knock_time(NULL) == 0 && spa_knock_type(NULL) == -1);
    spa_knock_free(NULL);

    /* A buffer that is too small is left alone. */
    strcpy(altered, "untouched");
    CHECK(spa_seal(&request, &keys, random, altered, 100) == SPA_MISUSE && strcmp(altered, "untouched") == 0);
    memset(random, 0, sizeof random);
    CHECK(spa_seal(&request, &keys, random, packet, sizeof packet) == SPA_MISUSE);
    memset(random, 7, sizeof random);

    /* Fields that cannot be sent. */
    struct { spa_request request; int result; } wrong[] = {
        { { .user = NULL, .ports = "tcp/22", .time = 1 }, SPA_MISUSE },
        { { .user = "alice", .ports = NULL, .time = 1 }, SPA_MISUSE },
        { { .user = "al:ce", .ports = "tcp/22", .time = 1 }, SPA_REQUEST },
        { { .user = "alice", .ports = "tcp/0", .time = 1 }, SPA_REQUEST },
        { { .user = "alice", .ports = "tcp/22", .allow = "::ffff:1.2.3.4", .time = 1 }, SPA_REQUEST },
        { { .user = "alice", .ports = "tcp/22", .allow = "host", .time = 1 }, SPA_REQUEST },
        { { .user = "alice", .ports = "tcp/22", .nat = "nowhere", .time = 1 }, SPA_REQUEST },
        { { .user = "alice", .ports = longtext, .time = 1 }, SPA_MISUSE },
        { { .user = "\xff", .ports = "tcp/22", .time = 1 }, SPA_MISUSE },
        { { .user = "alice", .ports = "tcp/22", .time = 1, .digest = 8 }, SPA_MISUSE },
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        int result = spa_seal(&wrong[i].request, &keys, random, packet, sizeof packet);
        if (result != wrong[i].result || !*spa_error_text()) {
            fprintf(stderr, "wrong request %zu: %d, %s\n", i, result, spa_error_text());
            return 1;
        }
    }
    keys.key = "not base64";
    CHECK(spa_seal(&request, &keys, random, packet, sizeof packet) == SPA_KEY);
    CHECK(strcmp(spa_error_reason(), "E_NOT_BASE64") == 0);
    keys.key = "";
    CHECK(spa_seal(&request, &keys, random, packet, sizeof packet) == SPA_KEY);

    /* IPv6, source, no HMAC. */
    texts.hmac_key = NULL;
    request.nat = NULL, request.timeout = 0, request.allow = "2001:DB8::7";
    CHECK(spa_seal(&request, &texts, random, packet, sizeof packet) == SPA_OK);
    CHECK(spa_open((unsigned char *)packet, strlen(packet), &texts, &knock) == SPA_OK);
    CHECK(strcmp(spa_knock_allow(knock), "2001:db8::7") == 0 && spa_knock_nat(knock) == NULL && spa_knock_type(knock) == 1);
    spa_knock_free(knock);
    puts("all as the header says");
    return 0;
}
