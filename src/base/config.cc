#include "base/config.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/error.h"

namespace puyu {
namespace {

template <class T>
T parse_number(std::string_view text, const std::string& key) {
  T v{};
  auto r = std::from_chars(text.data(), text.data() + text.size(), v);
  if (r.ec != std::errc{} || r.ptr != text.data() + text.size())
    fail("[config] option '", key, "': expected ", std::is_integral_v<T> ? "an integer" : "a number", ", got '", text,
         "'");
  return v;
}

template <class F>
void split_list(std::string_view text, F&& each) {
  while (!text.empty()) {
    size_t c = std::min(text.find(','), text.size());
    each(text.substr(0, c));
    text.remove_prefix(std::min(c + 1, text.size()));
  }
}

void assign(const Field& f, const std::string& key, std::string_view text) {
  struct {
    const std::string& key;
    std::string_view text;
    void operator()(bool* p) const {
      if (text != "true" && text != "false")
        fail("[config] option '", key, "': expected true or false, got '", text, "'");
      *p = text == "true";
    }
    void operator()(int* p) const { *p = parse_number<int>(text, key); }
    void operator()(int64_t* p) const { *p = parse_number<int64_t>(text, key); }
    void operator()(double* p) const { *p = parse_number<double>(text, key); }
    void operator()(std::string* p) const { *p = text; }
    void operator()(std::vector<int64_t>* p) const {
      p->clear();
      split_list(text, [&](std::string_view s) { p->push_back(parse_number<int64_t>(s, key)); });
    }
    void operator()(std::vector<double>* p) const {
      p->clear();
      split_list(text, [&](std::string_view s) { p->push_back(parse_number<double>(s, key)); });
    }
    void operator()(std::vector<std::string>* p) const {
      p->clear();
      split_list(text, [&](std::string_view s) { p->emplace_back(s); });
    }
    void operator()(const TableRef&) const {
      fail("[config] '", key, "' is a table; set one of its keys, ", key, ".NAME=VALUE");
    }
    void operator()(const TableListRef&) const {
      fail("[config] '", key, "' is a list of tables; use ", key, ".0.NAME=VALUE");
    }
  } visitor{key, text};
  std::visit(visitor, f.value);
}

void set_path(const Fields& fields, const std::string& path, const std::string& full, std::string_view value) {
  size_t dot = path.find('.');
  std::string head = path.substr(0, dot);
  auto it = std::find_if(fields.begin(), fields.end(), [&](const Field& f) { return f.name == head; });
  if (it == fields.end()) unknown_key(fields, head, cat("option '--", full, "'"));
  if (dot == std::string::npos) return assign(*it, full, value);
  std::string rest = path.substr(dot + 1);
  if (auto* table = std::get_if<TableRef>(&it->value)) return set_path(table->fields(), rest, full, value);
  if (auto* list = std::get_if<TableListRef>(&it->value)) {
    size_t d = rest.find('.');
    auto index = parse_number<uint64_t>(rest.substr(0, d), full);
    if (index >= list->size() || d == std::string::npos)
      fail("[config] option '--", full, "': '", head, "' has ", list->size(), " entries; write ", head,
           ".INDEX.NAME=VALUE");
    return set_path(list->at(index), rest.substr(d + 1), full, value);
  }
  fail("[config] option '--", full, "': '", head, "' is not a table");
}

// TOML basic strings escape as JSON does, and DEL too.
std::string toml_string(const std::string& s) {
  std::string out;
  for (char c : Json(s).dump())
    if (c == '\x7f')
      out += "\\u007f";
    else
      out += c;
  return out;
}

struct ScalarText {
  std::string operator()(bool* p) const { return *p ? "true" : "false"; }
  std::string operator()(int* p) const { return cat(*p); }
  std::string operator()(int64_t* p) const { return cat(*p); }
  std::string operator()(double* p) const {
    if (!std::isfinite(*p)) return std::isnan(*p) ? "nan" : *p > 0 ? "inf" : "-inf";
    std::string s = Json(*p).dump();  // shortest text that reads back the same; TOML wants a point or exponent
    return s.find_first_of(".e") == std::string::npos ? s + ".0" : s;
  }
  std::string operator()(std::string* p) const { return toml_string(*p); }
  template <class T>
  std::string operator()(std::vector<T>* p) const {
    std::string out = "[";
    for (auto& v : *p) out += (out.size() > 1 ? ", " : "") + (*this)(&v);
    return out + "]";
  }
  std::string operator()(const TableRef&) const { return {}; }
  std::string operator()(const TableListRef&) const { return {}; }
};
std::string scalar(const Field& f) { return std::visit(ScalarText{}, f.value); }

struct ToJson {
  template <class T>
  Json operator()(T* p) const {
    return *p;
  }
  template <class T>
  Json operator()(std::vector<T>* p) const {
    Json a = Json::array();
    for (auto& v : *p) a.push(Json(v));
    return a;
  }
  Json operator()(const TableRef& t) const { return to_json(t.fields()); }
  Json operator()(const TableListRef& l) const {
    Json a = Json::array();
    for (size_t i = 0; i < l.size(); ++i) a.push(to_json(l.at(i)));
    return a;
  }
};

void write_table(std::string& out, const Fields& fields, const std::string& prefix) {
  for (const Field& f : fields)
    if (f.value.index() < 8) out += cat(f.name, " = ", scalar(f), "\n");
  for (const Field& f : fields) {
    std::string name = prefix.empty() ? f.name : cat(prefix, ".", f.name);
    if (auto* t = std::get_if<TableRef>(&f.value)) {
      out += cat("\n[", name, "]\n");
      write_table(out, t->fields(), name);
    } else if (auto* l = std::get_if<TableListRef>(&f.value)) {
      for (size_t i = 0; i < l->size(); ++i) {
        out += cat("\n[[", name, "]]\n");
        write_table(out, l->at(i), name);
      }
    }
  }
}

void help_lines(std::string& out, const Fields& fields, const std::string& prefix) {
  for (const Field& f : fields) {
    std::string name = prefix + f.name;
    if (auto* t = std::get_if<TableRef>(&f.value)) {
      help_lines(out, t->fields(), name + ".");
    } else if (auto* l = std::get_if<TableListRef>(&f.value)) {
      out += cat("  [[", name, "]]  ", f.help, " (a list of tables in the config file)\n");
      if (l->size()) help_lines(out, l->at(0), name + ".0.");
    } else {
      std::string left = cat("  --", name, "=", scalar(f));
      if (left.size() < 38) left.append(38 - left.size(), ' ');
      out += cat(left, "  ", f.help, "\n");
    }
  }
}

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diag = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      size_t up = row[j];
      row[j] = std::min({up + 1, row[j - 1] + 1, diag + (a[i - 1] != b[j - 1])});
      diag = up;
    }
  }
  return row[b.size()];
}

}  // namespace

void set_field(const Fields& fields, const std::string& assignment) {
  size_t eq = assignment.find('=');
  if (eq == std::string::npos) fail("[config] option '--", assignment, "': expected --NAME=VALUE");
  std::string key = assignment.substr(0, eq);
  set_path(fields, key, key, std::string_view(assignment).substr(eq + 1));
}

std::string to_toml(const Fields& fields) {
  std::string out;
  write_table(out, fields, "");
  return out;
}

Json to_json(const Fields& fields) {
  Json out = Json::object();
  for (const Field& f : fields) out[f.name] = std::visit(ToJson{}, f.value);
  return out;
}

std::string fields_help(const Fields& fields) {
  std::string out;
  help_lines(out, fields, "");
  return out;
}

std::string nearest(const std::string& word, const std::vector<std::string>& known) {
  std::string best;
  size_t best_d = std::max<size_t>(2, word.size() / 3) + 1;
  for (const auto& k : known) {
    size_t d = edit_distance(word, k);
    if (d < best_d && d < std::max(word.size(), k.size())) best_d = d, best = k;  // a good guess shares a letter
  }
  return best;
}

void unknown_key(const Fields& fields, const std::string& key, const std::string& where) {
  std::vector<std::string> known;
  std::string all;
  for (const Field& f : fields) known.push_back(f.name), all += (all.empty() ? "" : ", ") + f.name;
  std::string near = nearest(key, known);
  if (!near.empty()) fail("[config] ", where, ": unknown key '", key, "'; did you mean '", near, "'?");
  fail("[config] ", where, ": unknown key '", key, "'; known keys here: ", all);
}

}  // namespace puyu
