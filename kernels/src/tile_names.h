/* Macros that instantiate a tile kernel's body for a list of (S, M) and fill the table with them. */
#ifndef ES_TILE_NAMES_H
#define ES_TILE_NAMES_H

#define ES_JOIN_(a, b) a##b
#define ES_JOIN(a, b) ES_JOIN_(a, b)

/* F(S, M) for M up to the number. */
#define ES_UP_TO_1(F, S) F(S, 1)
#define ES_UP_TO_2(F, S) ES_UP_TO_1(F, S) F(S, 2)
#define ES_UP_TO_3(F, S) ES_UP_TO_2(F, S) F(S, 3)
#define ES_UP_TO_4(F, S) ES_UP_TO_3(F, S) F(S, 4)
#define ES_UP_TO_5(F, S) ES_UP_TO_4(F, S) F(S, 5)
#define ES_UP_TO_6(F, S) ES_UP_TO_5(F, S) F(S, 6)
#define ES_UP_TO_7(F, S) ES_UP_TO_6(F, S) F(S, 7)
#define ES_UP_TO_8(F, S) ES_UP_TO_7(F, S) F(S, 8)
#define ES_UP_TO_9(F, S) ES_UP_TO_8(F, S) F(S, 9)
#define ES_UP_TO_10(F, S) ES_UP_TO_9(F, S) F(S, 10)
#define ES_UP_TO_11(F, S) ES_UP_TO_10(F, S) F(S, 11)
#define ES_UP_TO_12(F, S) ES_UP_TO_11(F, S) F(S, 12)

/* With two or three segments, fewer pixels than one or two of the longest segments is what fewer segments are for. */
#define ES_4_TO_6(F, S) F(S, 4) F(S, 5) F(S, 6)
#define ES_5_TO_8(F, S) F(S, 5) F(S, 6) F(S, 7) F(S, 8)
#define ES_5_TO_9(F, S) F(S, 5) F(S, 6) F(S, 7) F(S, 8) F(S, 9)
#define ES_7_TO_9(F, S) F(S, 7) F(S, 8) F(S, 9)
#define ES_7_TO_12(F, S) F(S, 7) F(S, 8) F(S, 9) F(S, 10) F(S, 11) F(S, 12)

#endif
