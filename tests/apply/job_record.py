"""The line on record of a job, see node/job_file.h."""
import hashlib


def check_of(line):
    return hashlib.sha256(line.encode()).hexdigest()[:16]
