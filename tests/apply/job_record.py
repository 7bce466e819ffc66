"""The line on record of a job, see node/job_file.h."""
import hashlib

BYTES = 256


def check_of(line):
    return hashlib.sha256(line.encode()).hexdigest()[:16]


def record_of(digest, pid, status, unit="-"):
    """Of its first attempt."""
    line = "3 %s 1 %d %d 0 %s" % (digest, pid, status, unit)
    return ("%s %s" % (line, check_of(line))).ljust(BYTES - 1) + "\n"
