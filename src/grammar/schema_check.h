// Questions about schemas that need no grammar: which keywords belong to which type, whether two schemas exclude each
// other, where a $ref points.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace puyu::grammar {

using Strings = std::vector<std::string>;

bool is_annotation(std::string_view keyword);
bool has_only(const Json& schema, const Strings& keywords);  // and annotations
const Strings& keywords_of(const std::string& type);         // without "type"; empty for an unknown type
// The types of a schema: as written, or as its keywords say; empty: any. Error at `path` when they are unclear.
Strings types_of(const Json& schema, const std::string& path);
// A pointer such as "#/$defs/node". Error when it leaves the document or finds nothing.
const Json& resolve(const Json& document, const std::string& ref, const std::string& path);
// Certainly no value is valid under both.
bool exclusive(const Json& document, const Json& a, const Json& b, int depth = 0);
bool has_type(const Json& value, const std::string& type);

}  // namespace puyu::grammar
