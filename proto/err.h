// Errors as values, and the three macros every file uses.
//
// A function that can fail is `MUST_CHECK bool f(…, struct err *e)`: true, done; false, nothing
// that the caller can see has changed and *e (in the caller's frame) holds one code for machines
// and one sentence for people. Whoever handles an error logs it, once; everybody else adds context
// with err_wrap() and passes it on.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(text, first) __attribute__((format(printf, text, first)))
#define CLEANUP(function) __attribute__((cleanup(function)))

// Programmer errors only, never input. Stays on in release builds.
#define ASSERT(condition) ((condition) ? (void)0 : assert_failed(#condition, __FILE__, __LINE__))
_Noreturn void assert_failed(const char *condition, const char *file, int line);

// Every code that may stand in a status, in a reply or on a terminal, with when. PROTOCOL.md
// §codes.
// clang-format off
#define CODES(X)                                                                                   \
    X(OK, "no error")                                                                              \
    /* what a node refuses, in the order of its checks */                                          \
    X(LENGTH, "longer than its limit, or not as long as the signed length")                        \
    X(FORMAT, "not the canonical encoding of what it claims to be")                                \
    X(NAMESPACE, "a genuine signature, made for something else")                                   \
    X(SIGNER, "a signature that does not verify, or by nobody we know")                            \
    X(THRESHOLD, "fewer distinct known signers than required")                                     \
    X(FLEET, "belongs to another fleet")                                                           \
    X(EPOCH, "epoch below ours, or more than one above")                                           \
    X(ROLLBACK, "older than a release that was seen already")                                      \
    X(EQUIVOCATION, "a second head under one number")                                              \
    X(EXPIRED, "the release is past its expiry")                                                   \
    X(NOTICKET, "the release came without this node's ticket")                                     \
    X(NOTMINE, "the ticket is another node's")                                                     \
    X(PATH, "the ticket is not part of this release")                                              \
    X(HASH, "the bytes are not those that were signed")                                            \
    X(SEAL, "the key cannot be opened, or does not open the blob")                                 \
    X(ARCHIVE, "what was in the blob breaks a rule of its structure")                              \
    X(EXPECTED, "evaluates or builds to another path than the signed one")                         \
    X(LOCKOUT, "the new system's bento would not accept this fleet")                               \
    X(SLOW, "a transfer below the floor rate")                                                     \
    /* why a configuration did not stay */                                                         \
    X(EVAL, "the evaluation failed")                                                               \
    X(BUILD, "the build failed, or the path could not be substituted")                             \
    X(SWITCH, "switch-to-configuration failed")                                                    \
    X(UNITS, "units failed under the new system")                                                  \
    X(SECRETS, "the secrets could not be installed, or their owner is unknown")                    \
    X(HEALTH, "a health command failed")                                                           \
    X(COMMIT, "the profile or the boot loader could not be written")                               \
    X(CONNECTIVITY, "the broker was not reached in the confirm window")                            \
    X(DEADMAN, "bento-apply was gone when the confirm window ended")                               \
    X(REBOOT, "the machine restarted inside the trial")                                            \
    X(ATTEMPTS, "interrupted too often, given up")                                                 \
    /* what the broker answers */                                                                  \
    X(NONE, "there is no such thing")                                                              \
    X(STALE, "that is not the newest release any more")                                            \
    X(SEQ, "other bytes are stored under this number")                                             \
    X(REFUSED, "not accepted")                                                                     \
    X(UNKNOWN, "a node that is not in the roster")                                                 \
    X(BAD, "no such operation, or not for you")                                                    \
    /* local */                                                                                    \
    X(IO, "the operating system refused")                                                          \
    X(CONFIG, "the configuration is wrong")                                                        \
    X(USAGE, "the command line is wrong")                                                          \
    X(TIMEOUT, "a deadline passed")                                                                \
    X(BUSY, "somebody else holds the lock")                                                        \
    X(UNREACHABLE, "nobody answers there")
// clang-format on

#define CODE_ENUM(name, when) CODE_##name,
enum code { CODES(CODE_ENUM) CODE_COUNT };
#undef CODE_ENUM

// "SIGNER" for CODE_SIGNER. Static.
const char *code_name(enum code code);
// The sentence beside it in the table. Static.
const char *code_when(enum code code);
// The reverse of code_name(); false if there is no such name.
MUST_CHECK bool code_parse(const char *name, size_t length, enum code *code);

struct err {
    enum code code;
    char text[480]; // one line, NUL-terminated, bounded; may hold input, so print it escaped
};

// Sets *e and returns false, so that `return err_set(e, …);` reads well. %m works.
bool err_set(struct err *e, enum code code, const char *format, ...) PRINTF_LIKE(3, 4);
// Puts "context: " before the text, keeps the code, returns false.
bool err_wrap(struct err *e, const char *format, ...) PRINTF_LIKE(2, 3);
