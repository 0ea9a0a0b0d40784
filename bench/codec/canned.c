/* A database that is never the bottleneck of a large result.
 *
 * usage: canned PORT TARGET-PORT HEAD ROWS TAIL REPEAT
 *
 * It relays every connection to a real PostgreSQL, so that logins and catalog questions are answered by one. A simple
 * query that carries the marker is not passed on: it is answered with HEAD, then ROWS REPEAT times, then TAIL, all
 * recorded from the real server before. Loopback only; a process per connection.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define MARKER "/*canned*/"

struct blob {
    const char *data;
    size_t size;
};

static struct blob load(const char *path) {
    struct stat about;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0 || fstat(file, &about) < 0) {
        perror(path);
        exit(1);
    }
    void *data = mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, file, 0);
    if (data == MAP_FAILED) {
        perror(path);
        exit(1);
    }
    return (struct blob){data, (size_t)about.st_size};
}

static int send_all(int to, const char *data, size_t size) {
    while (size > 0) {
        ssize_t sent = send(to, data, size, MSG_NOSIGNAL);
        if (sent <= 0) return 0;
        data += sent;
        size -= (size_t)sent;
    }
    return 1;
}

static int dial(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int on = 1, target = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (target < 0 || connect(target, (struct sockaddr *)&address, sizeof address) < 0) return -1;
    setsockopt(target, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return target;
}

static void serve(int client, int port, const struct blob blobs[3], int repeat) {
    char buffer[65536];
    int target = dial(port);
    if (target < 0) return;
    struct pollfd ends[2] = {{client, POLLIN, 0}, {target, POLLIN, 0}};
    while (poll(ends, 2, -1) > 0) {
        if (ends[1].revents) {
            ssize_t got = read(target, buffer, sizeof buffer);
            if (got <= 0 || !send_all(client, buffer, (size_t)got)) return;
        }
        if (!ends[0].revents) continue;
        ssize_t got = read(client, buffer, sizeof buffer);
        if (got <= 0) return;
        if (buffer[0] != 'Q' || memmem(buffer, (size_t)got, MARKER, sizeof MARKER - 1) == NULL) {
            if (!send_all(target, buffer, (size_t)got)) return;
            continue;
        }
        int whole = send_all(client, blobs[0].data, blobs[0].size);
        for (int i = 0; whole && i < repeat; i++) whole = send_all(client, blobs[1].data, blobs[1].size);
        if (!whole || !send_all(client, blobs[2].data, blobs[2].size)) return;
    }
}

int main(int count, char **words) {
    if (count != 7) {
        fprintf(stderr, "usage: canned PORT TARGET-PORT HEAD ROWS TAIL REPEAT\n");
        return 2;
    }
    struct blob blobs[3] = {load(words[3]), load(words[4]), load(words[5])};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(words[1]))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int on = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 128) < 0) {
        perror("canned");
        return 1;
    }
    signal(SIGCHLD, SIG_IGN);
    for (;;) {
        int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (client < 0) continue;
        if (fork() == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            serve(client, atoi(words[2]), blobs, atoi(words[6]));
            _exit(0);
        }
        close(client);
    }
}
