#include "text/html_blocks.h"

#include <algorithm>

#include "base/utf8.h"

namespace puyu {
namespace {

bool is_space(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r' || c == '\f'; }

// A table of data has short cells; one that lays out a page holds whole paragraphs.
bool is_data_table(const std::vector<HtmlNode>& nodes, uint32_t table) {
  size_t cells = 0, chars = 0, rows = 0;
  for (uint32_t i = table + 1; i < nodes[table].end; ++i) {
    if (nodes[i].is(GUMBO_TAG_TABLE)) return false;
    rows += nodes[i].is(GUMBO_TAG_TR);
    cells += nodes[i].is(GUMBO_TAG_TD) || nodes[i].is(GUMBO_TAG_TH);
    chars += nodes[i].text.size();
  }
  return cells >= 4 && cells > rows && chars < cells * 100;
}

class Collector {
 public:
  Collector(const HtmlTree& tree, const MainContent& main) : tree_(tree), nodes_(tree.nodes()), main_(main) {}

  std::vector<HtmlBlock> run() {
    std::vector<uint32_t> open;
    for (uint32_t i = main_.root; i < nodes_[main_.root].end;) {
      while (!open.empty() && i >= nodes_[open.back()].end) leave(open.back()), open.pop_back();
      if (main_.dropped[i]) {
        i = nodes_[i].end;
      } else if (!nodes_[i].element) {
        add(nodes_[i].text);
        ++i;
      } else if (enter(i)) {
        open.push_back(i);
        ++i;
      } else {
        i = nodes_[i].end;
      }
    }
    for (; !open.empty(); open.pop_back()) leave(open.back());
    end_block();
    return std::move(blocks_);
  }

 private:
  struct List {
    uint32_t node;
    bool ordered;
    int next;
  };

  bool enter(uint32_t i) {
    const HtmlNode& n = nodes_[i];
    switch (n.tag) {
      case GUMBO_TAG_BR:
        return line_break(), false;
      case GUMBO_TAG_MATH:
        return formula(i), false;
      case GUMBO_TAG_IMG:  // formulae as pictures
        if (tex_picture(n)) add_formula(HtmlTree::attribute(n, "alt"));
        return false;
      case GUMBO_TAG_TABLE:
        data_tables_ += is_data_table(nodes_, i);
        break;
      case GUMBO_TAG_UL:
      case GUMBO_TAG_OL:
        open_list(i);
        break;
      default:
        break;
    }
    after_break_ = false;
    bool cell = n.tag == GUMBO_TAG_TD || n.tag == GUMBO_TAG_TH;
    if (data_tables_ > 0 && cell) {
      if (!current_.text.empty() && current_.kind == BlockKind::kRow) trim(), current_.text += " | ";
    } else if (is_block_tag(n.tag) && !(data_tables_ > 0 && n.tag != GUMBO_TAG_TR && n.tag != GUMBO_TAG_TABLE)) {
      end_block();
      begin_block(n.tag);
    }
    links_ += n.tag == GUMBO_TAG_A;
    code_ += n.tag == GUMBO_TAG_PRE;
    if (code_ > 0) current_.kind = BlockKind::kCode;
    return true;
  }

  void leave(uint32_t i) {
    const HtmlNode& n = nodes_[i];
    bool inside_data = data_tables_ > 0 && n.tag != GUMBO_TAG_TR && n.tag != GUMBO_TAG_TABLE;
    if (is_block_tag(n.tag) && !inside_data) end_block();
    if (n.tag == GUMBO_TAG_TABLE && data_tables_ > 0) --data_tables_;
    if (!lists_.empty() && lists_.back().node == i) lists_.pop_back();
    links_ -= n.tag == GUMBO_TAG_A;
    code_ -= n.tag == GUMBO_TAG_PRE;
    if (inside_data) add(" ");
  }

  void open_list(uint32_t i) {
    bool ordered = nodes_[i].tag == GUMBO_TAG_OL;
    std::string start(HtmlTree::attribute(nodes_[i], "start").substr(0, 6));
    lists_.push_back({i, ordered, start.empty() ? 1 : std::atoi(start.c_str())});
  }

  void begin_block(GumboTag t) {
    switch (t) {
      case GUMBO_TAG_P:
      case GUMBO_TAG_BLOCKQUOTE:
      case GUMBO_TAG_DD:
        current_.kind = BlockKind::kParagraph;
        break;
      case GUMBO_TAG_H1:
      case GUMBO_TAG_H2:
      case GUMBO_TAG_H3:
      case GUMBO_TAG_H4:
      case GUMBO_TAG_H5:
      case GUMBO_TAG_H6:
        current_.kind = BlockKind::kHeading;
        current_.is_title = t == GUMBO_TAG_H1;
        break;
      case GUMBO_TAG_TR:
        current_.kind = data_tables_ > 0 ? BlockKind::kRow : BlockKind::kOther;
        break;
      case GUMBO_TAG_LI:
        current_.kind = BlockKind::kItem;
        if (!lists_.empty()) {
          mark_ = lists_.back().ordered ? std::to_string(lists_.back().next++) + ". " : "- ";
          mark_.insert(0, 2 * (std::min<size_t>(lists_.size(), 8) - 1), ' ');
        } else {
          mark_ = "- ";
        }
        break;
      default:
        break;
    }
    // Paragraphs inside an item belong to its list.
    if (!lists_.empty()) current_.list = lists_.front().node;
  }

  void add(std::string_view text) {
    size_t before = current_.text.size();
    if (code_ > 0) {
      current_.text += text;
    } else {
      for (char c : text) {
        if (!is_space(c)) {
          current_.text += c;
          after_break_ = false;
        } else if (!current_.text.empty() && !is_space(current_.text.back())) {
          current_.text += ' ';
        }
      }
    }
    if (links_ > 0) current_.link_bytes += current_.text.size() - before;
  }

  // One <br> ends a line, two end a paragraph.
  void line_break() {
    if (code_ > 0) {
      current_.text += '\n';
    } else if (after_break_) {
      BlockKind kind = current_.kind;
      end_block();
      current_.kind = kind == BlockKind::kOther ? BlockKind::kParagraph : kind;
    } else if (!current_.text.empty()) {
      trim();
      current_.text += '\n';
      after_break_ = true;
    }
  }

  static bool tex_picture(const HtmlNode& n) {
    std::string_view names = HtmlTree::attribute(n, "class");
    return names.find("tex") != std::string_view::npos || names.find("math") != std::string_view::npos ||
           names.find("latex") != std::string_view::npos;
  }

  void formula(uint32_t i) {
    for (uint32_t k = i; k < nodes_[i].end; ++k)
      if (nodes_[k].element && HtmlTree::attribute(nodes_[k], "encoding") == "application/x-tex")
        return add_formula(tree_.flat_text(k));
    add(tree_.flat_text(i));
  }

  void add_formula(std::string_view tex) {
    tex = tex.substr(std::min(tex.find_first_not_of(" \n"), tex.size()));
    if (!tex.empty()) add(std::string("$") + std::string(tex) + "$");
  }

  void trim() {
    while (!current_.text.empty() && is_space(current_.text.back())) current_.text.pop_back();
  }

  void end_block() {
    trim();
    after_break_ = false;
    if (!current_.text.empty()) {
      if (current_.kind == BlockKind::kItem || (current_.list && !mark_.empty())) {
        current_.text.insert(0, mark_);
        current_.kind = BlockKind::kItem;
        mark_.clear();
      }
      blocks_.push_back(std::move(current_));
    }
    current_ = {};
    if (!lists_.empty()) current_.list = lists_.front().node;
    if (code_ > 0) current_.kind = BlockKind::kCode;
  }

  const HtmlTree& tree_;
  const std::vector<HtmlNode>& nodes_;
  const MainContent& main_;
  std::vector<HtmlBlock> blocks_;
  std::vector<List> lists_;
  HtmlBlock current_;
  std::string mark_;  // of the item that has begun
  int links_ = 0, code_ = 0, data_tables_ = 0;
  bool after_break_ = false;
};

}  // namespace

std::vector<HtmlBlock> collect_blocks(const HtmlTree& tree, const MainContent& main) {
  return Collector(tree, main).run();
}

}  // namespace puyu
