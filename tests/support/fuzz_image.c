/* Mutates an image many times, repairs its checksum most of the time, and loads it: fuzz_image IMAGE FIRST COUNT. What is
   accepted, and short, is run. Built with sanitizers, each image and arena in a block of its own size. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mho.h"

static uint64_t state;
static uint32_t draw(uint32_t below) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    return (uint32_t)((state >> 33) % below);
}

static uint32_t crc32(const uint8_t *bytes, size_t count) {
    uint32_t crc = 0xffffffffU;
    size_t i;
    int bit;
    for (i = 0; i < count; i++) {
        crc ^= bytes[i];
        for (bit = 0; bit < 8; bit++) {
            crc = (crc & 1U) ? (crc >> 1) ^ 0xedb88320U : crc >> 1;
        }
    }
    return ~crc;
}

static void put32(uint8_t *at, uint32_t value) {
    at[0] = (uint8_t)value, at[1] = (uint8_t)(value >> 8), at[2] = (uint8_t)(value >> 16), at[3] = (uint8_t)(value >> 24);
}
static uint32_t get32(const uint8_t *at) {
    return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static void mutate(uint8_t *image, size_t size, uint32_t head) {
    static const uint32_t special[] = {0, 1, 2, 7, 8, 0x7f, 0xff, 0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xffffffff};
    size_t at = draw(4) ? draw(head) : draw((uint32_t)size);
    switch (draw(4)) {
    case 0: image[at] = (uint8_t)draw(256); break;
    case 1: image[at] = (uint8_t)(image[at] ^ 1U << draw(8)); break;
    default: /* a word, where words of tables and code lie */
        at = at / 4 * 4;
        if (at + 4 <= size) {
            uint32_t old = get32(image + at);
            put32(image + at, draw(2) ? special[draw(12)] : old + draw(9) - 4);
        }
        break;
    }
}

static mho_machine machine;

int main(int count, char **arguments) {
    static uint8_t original[1 << 22];
    uint32_t seed, first, last, size, head, accepted = 0, ran = 0;
    FILE *file;
    if (count != 4 || !(file = fopen(arguments[1], "rb"))) {
        return 2;
    }
    size = (uint32_t)fread(original, 1, sizeof original, file);
    fclose(file);
    head = get32(original + 96) + get32(original + 100); /* header, tables, code, names */
    first = (uint32_t)atoi(arguments[2]), last = first + (uint32_t)atoi(arguments[3]);
    for (seed = first; seed < last; seed++) {
        uint8_t *image;
        uint32_t length = size, i, changes;
        state = seed * 2654435761ULL + 99;
        if (draw(16) == 0) {
            length = draw(size);
        }
        image = malloc(length ? length : 1);
        memcpy(image, original, length);
        changes = 1 + draw(3);
        for (i = 0; i < changes && length > 160; i++) {
            mutate(image, length, head < length ? head : length);
        }
        if (length > 160 && draw(8)) {
            memcpy(image, original, 12);
            put32(image + 12, length);
            put32(image + 16, crc32(image + 20, length - 20));
        }
        if (mho_load(&machine, image, length) == MHO_OK) {
            const uint32_t bytes = machine.program.arena_bytes;
            void *arena = malloc(bytes ? bytes : 1);
            accepted++;
            if (machine.program.executed < 100000 && mho_start(&machine, arena, bytes) == MHO_OK) {
                ran += mho_run(&machine) == MHO_OK;
            }
            free(arena);
        }
        free(image);
    }
    printf("%lu mutants, %lu accepted, %lu ran\n", (unsigned long)(last - first), (unsigned long)accepted,
           (unsigned long)ran);
    return 0;
}
