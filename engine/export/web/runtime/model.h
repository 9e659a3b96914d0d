/* The browser's model.h: every part there is, and sizes that the model says when the page opens. */
#ifndef STUDENT_MODEL_H
#define STUDENT_MODEL_H

#include <stdint.h>

#define STUDENT_WEB 1
#define STUDENT_SELFTEST 0
#define STUDENT_SAMPLE 1
#define STUDENT_DIGEST 1

#define STUDENT_BIAS 1
#define STUDENT_BLOCKS 1
#define STUDENT_GATE 1
#define STUDENT_PLE 1
#define STUDENT_GELU 1
#define STUDENT_SQUARE 1
#define STUDENT_LAYERNORM 1
#define STUDENT_QK_NORM 1
#define STUDENT_ROPE 2
#define STUDENT_EXP 1
#define STUDENT_TOKENIZER 1
#define STUDENT_BPE 1
#define STUDENT_TASK 0     /* the page knows what is legal */
#define STUDENT_PACKED 0   /* a page has whole codes */
#define STUDENT_ADAPTERS 0
#define STUDENT_GRAMMAR 0

#define STUDENT_VOCAB student_model.vocab
#define STUDENT_EOS student_model.eos

typedef uint32_t student_offset;

/* The page puts the image of engine/export/c99 there. */
#define student_page ((const struct student_image *)0x10000)
#define student_model (student_page->model)
#define student_text (student_page->text)

#endif
