// llama.cpp's GBNF grammars: `root ::= ...`, alternatives |, groups ( ), repetitions * + ? {m} {m,} {m,n}, "literals",
// character classes [a-z] and [^"\\], any character `.`, comments #. Escapes \n \r \t \\ \" \[ \] \- \^ \xHH \uHHHH
// \UHHHHHHHH name characters, not bytes. Source: llama.cpp grammars/README.md. Left recursion is an Error, as there;
// token references <...> are not supported.
#pragma once
#include <string_view>

#include "grammar/grammar.h"

namespace puyu::grammar {

// Error: "[gbnf] line L, column C: expected ..., got ...".
Grammar parse_gbnf(std::string_view text);

}  // namespace puyu::grammar
