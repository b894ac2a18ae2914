// Reads and writes options structs (fields.h). Every problem is an Error that names the file, the line, the key, and
// for an unknown key the nearest known one.
#pragma once
#include <string>
#include <vector>

#include "base/fields.h"
#include "base/json.h"

namespace puyu {

// TOML text into fields. Keys that are absent keep their defaults. `where` names the file in errors.
void read_toml(const Fields& fields, const std::string& text, const std::string& where);
// One command line override, "a.b=value" (without the leading --). Lists are comma-separated.
void set_field(const Fields& fields, const std::string& assignment);
std::string to_toml(const Fields& fields);
Json to_json(const Fields& fields);
// "  --lr=0.0003   peak learning rate" for each field, nested ones dotted, defaults as they stand.
std::string fields_help(const Fields& fields);
// The known word nearest to `word` by edit distance, or "" when none is near.
std::string nearest(const std::string& word, const std::vector<std::string>& known);
[[noreturn]] void unknown_key(const Fields& fields, const std::string& key, const std::string& where);

template <class T>
void load_config(T& options, const std::string& toml, const std::string& where,
                 const std::vector<std::string>& overrides = {}) {
  Fields f = list_fields(options);
  read_toml(f, toml, where);
  for (const auto& o : overrides) set_field(f, o);
}

}  // namespace puyu
