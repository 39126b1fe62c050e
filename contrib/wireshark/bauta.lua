-- Bauta in Wireshark: frames, handshakes, and with a key log (`--keylog`, spec/link.md §8) the cells inside.
--
-- Source of the formats: spec/link.md, spec/cells.md, spec/messages.md, spec/onion.md. Tags are not checked: a frame that was changed
-- on its way shows as rubbish, not as an error. What is inside the onion stays sealed.

local FRAME_LEN, CELL_LEN, BODY_LEN, HEADER_LEN = 2064, 2048, 2040, 8
local KEY_LEN, TAG_LEN = 32, 16
-- As many links and as many lines of a key log are remembered; more are left out.
local LINKS_MAX, LINES_MAX = 4096, 65536

local bauta = Proto("bauta", "Bauta link")
bauta.prefs.keylog = Pref.string("Key log file", "", "As written by `bauta ... --keylog FILE`, of a test network")

local COMMANDS = {
  [1] = "Build", [2] = "Reply0", [3] = "Forward", [4] = "Backward", [5] = "Destroy",
  [6] = "Credit", [7] = "Hello", [8] = "Padding", [9] = "Ask", [10] = "Answer",
}
local QUESTIONS = {
  [1] = "Find", [2] = "Store, nothing paid", [3] = "Members", [4] = "Differences",
  [5] = "Store, paid for", [6] = "Store, upkeep",
}
local ANSWERS = { [0] = "Refused", [1] = "Found", [2] = "Stored", [3] = "Members" }
local VERDICTS = {
  [0] = "absent", [1] = "present", [2] = "stored", [3] = "conflict", [4] = "full",
  [5] = "not close enough", [6] = "invalid", [7] = "unpaid",
}
local KINDS = { [0] = "signed", [1] = "hashed" }
local COMMAND_OF = { build = 1, reply0 = 2, forward = 3, backward = 4, credit = 6, hello = 7, ask = 9, answer = 10 }

local f = {
  frame = ProtoField.uint32("bauta.frame", "Frame of this direction, from 0"),
  kind = ProtoField.string("bauta.kind", "Kind"),
  from = ProtoField.string("bauta.from", "From"),
  ephemeral = ProtoField.bytes("bauta.ephemeral", "Ephemeral key"),
  static = ProtoField.bytes("bauta.static", "Link key, sealed"),
  sealed = ProtoField.bytes("bauta.sealed", "Sealed"),
  mac1 = ProtoField.bytes("bauta.mac1", "mac1"),
  tag = ProtoField.bytes("bauta.tag", "Tag"),
  circuit = ProtoField.uint32("bauta.circuit", "Circuit", base.HEX),
  command = ProtoField.uint8("bauta.command", "Command", base.DEC, COMMANDS),
  suite = ProtoField.uint8("bauta.suite", "Suite"),
  hint = ProtoField.uint8("bauta.hint", "Onion-key hint"),
  zero = ProtoField.uint8("bauta.zero", "Zero"),
  body = ProtoField.bytes("bauta.body", "Body"),
  credits = ProtoField.uint32("bauta.credits", "Credits"),
  version_low = ProtoField.uint8("bauta.hello.lowest", "Lowest version"),
  version_high = ProtoField.uint8("bauta.hello.highest", "Highest version"),
  shown = ProtoField.bool("bauta.hello.descriptor", "Descriptor follows"),
  descriptor = ProtoField.bytes("bauta.descriptor", "Descriptor"),
  length = ProtoField.uint32("bauta.message.length", "Length of the message"),
  part = ProtoField.bytes("bauta.message.part", "Part of a message"),
  question = ProtoField.uint8("bauta.question", "Question", base.DEC, QUESTIONS),
  answer = ProtoField.uint8("bauta.answer", "Answer", base.DEC, ANSWERS),
  value_kind = ProtoField.uint8("bauta.value.kind", "Kind of value", base.DEC, KINDS),
  location = ProtoField.bytes("bauta.location", "Location"),
  nonce = ProtoField.bytes("bauta.nonce", "Nonce"),
  wanted = ProtoField.bool("bauta.wanted", "Value wanted"),
  signer = ProtoField.bytes("bauta.statement.signer", "Signer"),
  verdict = ProtoField.uint8("bauta.statement.verdict", "Verdict", base.DEC, VERDICTS),
  count = ProtoField.uint16("bauta.count", "Items"),
  padding = ProtoField.bytes("bauta.padding", "Padding"),
}
bauta.fields = {}
for _, field in pairs(f) do table.insert(bauta.fields, field) end
local no_key = ProtoExpert.new("bauta.no_key", "No key of this link in the key log", expert.group.DECRYPTION, expert.severity.NOTE)
local not_a_cell = ProtoExpert.new("bauta.not_a_cell", "What is inside is no cell: wrong key, or a changed frame",
  expert.group.MALFORMED, expert.severity.WARN)
bauta.experts = { no_key, not_a_cell }

---- ChaCha20, RFC 8439, on the numbers of 32 bits that Wireshark's own library of bits has ----

local bit = bit or require("bit")
local bxor, rol, tobit, band, rshift = bit.bxor, bit.rol, bit.tobit, bit.band, bit.rshift

local function word(bytes, at)
  local a, b, c, d = bytes:byte(at, at + 3)
  return tobit(a + b * 256 + c * 65536 + d * 16777216)
end

local function quarter(x, a, b, c, d)
  x[a] = tobit(x[a] + x[b]); x[d] = rol(bxor(x[d], x[a]), 16)
  x[c] = tobit(x[c] + x[d]); x[b] = rol(bxor(x[b], x[c]), 12)
  x[a] = tobit(x[a] + x[b]); x[d] = rol(bxor(x[d], x[a]), 8)
  x[c] = tobit(x[c] + x[d]); x[b] = rol(bxor(x[b], x[c]), 7)
end

-- Words of one block; Noise's nonce is four zeros and the message's number, little-endian.
local function block(key, counter, number)
  local state = { tobit(0x61707865), tobit(0x3320646e), tobit(0x79622d32), tobit(0x6b206574) }
  for at = 1, 8 do state[4 + at] = key[at] end
  state[13], state[14] = tobit(counter), 0
  state[15], state[16] = tobit(number % 4294967296), tobit(math.floor(number / 4294967296))
  local x = {}
  for at = 1, 16 do x[at] = state[at] end
  for _ = 1, 10 do
    quarter(x, 1, 5, 9, 13); quarter(x, 2, 6, 10, 14); quarter(x, 3, 7, 11, 15); quarter(x, 4, 8, 12, 16)
    quarter(x, 1, 6, 11, 16); quarter(x, 2, 7, 12, 13); quarter(x, 3, 8, 9, 14); quarter(x, 4, 5, 10, 15)
  end
  for at = 1, 16 do x[at] = tobit(x[at] + state[at]) end
  return x
end

-- Block 0 makes the key of the tag; the text begins with block 1.
local function decrypt(key, number, sealed)
  local out = {}
  for at = 0, #sealed / 64 - 1 do
    local x = block(key, 1 + at, number)
    for w = 1, 16 do
      local plain = bxor(word(sealed, at * 64 + w * 4 - 3), x[w])
      out[#out + 1] = string.char(band(plain, 255), band(rshift(plain, 8), 255), band(rshift(plain, 16), 255), rshift(plain, 24))
    end
  end
  return table.concat(out)
end

---- the key log ----

-- By ephemeral key: for "i" and "r" a list of { from, key } in the order of the file.
local keys, loaded = {}, nil

local function words_of(hex)
  local bytes = hex:gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end)
  local words = {}
  for at = 1, 8 do words[at] = word(bytes, at * 4 - 3) end
  return words
end

local function load_keys()
  if loaded == bauta.prefs.keylog then return end
  loaded, keys = bauta.prefs.keylog, {}
  local file = loaded ~= "" and io.open(loaded, "r")
  if not file then return end
  local count = 0
  for line in file:lines() do
    local e, from_i, key_i, from_r, key_r = line:match("^bauta%-link%-1 (%x+) (%d+) (%x+) (%d+) (%x+)$")
    count = count + 1
    if count > LINES_MAX then break end
    if e and #e == 64 and #key_i == 64 and #key_r == 64 then
      local link = keys[e] or { i = {}, r = {} }
      table.insert(link.i, { from = tonumber(from_i), key = words_of(key_i) })
      table.insert(link.r, { from = tonumber(from_r), key = words_of(key_r) })
      keys[e] = link
    end
  end
  file:close()
end

-- The key under which a message of this number was sent: the one that began last, but not after it.
local function key_for(link, side, number)
  local best = nil
  for _, one in ipairs(link and keys[link.ephemeral] and keys[link.ephemeral][side] or {}) do
    if one.from <= number and (not best or one.from >= best.from) then best = one end
  end
  return best and best.key
end

---- links, as they are met in the capture ----

-- By stream of TCP: who dialled, the ephemeral key, frames so far of each side, and for each packet the numbers of its frames.
local links, link_count = {}, 0
local stream_field = Field.new("tcp.stream")

local function endpoint(address, port) return tostring(address) .. " " .. tostring(port) end

local function link_of(pinfo)
  local stream = stream_field().value
  local link = links[stream]
  if not link and link_count < LINKS_MAX then
    link = { dialler = endpoint(pinfo.src, pinfo.src_port), frames = { i = 0, r = 0 }, packets = {}, parts = {} }
    links[stream] = link
    link_count = link_count + 1
  end
  return link
end

local function side_of(link, pinfo)
  return link.dialler == endpoint(pinfo.src, pinfo.src_port) and "i" or "r"
end

-- Wireshark dissects a packet again and again, and calls for it once more when it begins with the rest of a frame: a frame, known by its
-- tag, keeps the number that it was given at first.
local function number_of(link, side, pinfo, at)
  local known = link.packets[pinfo.number] or {}
  link.packets[pinfo.number] = known
  if not known[at] then
    known[at] = link.frames[side]
    link.frames[side] = link.frames[side] + 1
  end
  return known[at]
end

---- what is inside ----

local function hello(tvb, tree)
  tree:add(f.version_low, tvb(0, 1))
  tree:add(f.version_high, tvb(1, 1))
  tree:add(f.shown, tvb(2, 1))
  if tvb(2, 1):uint() == 1 then
    tree:add(f.descriptor, tvb(3, 234))
    return 237
  end
  return 3
end

local function statement(tvb, tree)
  tree:add(f.signer, tvb(0, 32))
  tree:add(f.verdict, tvb(36, 1))
end

-- The first cell of a message says what it is; its name.
local function message(tvb, tree, is_answer)
  local length = tvb(0, 4):uint()
  tree:add(f.length, tvb(0, 4))
  if length == 0 then return "empty" end
  local kind, rest = tvb(4, 1):uint(), tvb(5)
  tree:add(is_answer and f.answer or f.question, tvb(4, 1))
  if is_answer then
    if kind == 1 or kind == 2 then statement(rest, tree) end
    if kind == 3 then tree:add(f.count, rest(0, 2)) end
    return ANSWERS[kind] or "unknown"
  end
  if kind == 1 then
    tree:add(f.value_kind, rest(0, 1))
    tree:add(f.location, rest(1, 20))
    tree:add(f.nonce, rest(21, 16))
    tree:add(f.wanted, rest(37, 1))
  elseif kind == 2 or kind == 6 then
    tree:add(f.nonce, rest(0, 16))
  elseif kind == 5 then
    tree:add(f.nonce, rest(9, 16))
  end
  return QUESTIONS[kind] or "unknown"
end

-- Whether this cell begins a message, and how many bytes of it are still to come afterwards; kept by packet, for it may be asked again.
local function begins(link, side, pinfo, at, circuit, tvb)
  local key = pinfo.number .. " " .. at
  if link.parts[key] == nil then
    local open = side .. " " .. circuit
    local missing = link.parts[open] or 0
    link.parts[key] = missing == 0
    if missing == 0 then
      link.parts[open] = math.max(tvb(0, 4):uint() - (BODY_LEN - 4), 0)
    else
      link.parts[open] = math.max(missing - BODY_LEN, 0)
    end
  end
  return link.parts[key]
end

local function cell(tvb, tree, link, side, pinfo, at)
  local command, circuit = tvb(4, 1):uint(), tvb(0, 4):uint()
  tree:add(f.circuit, tvb(0, 4))
  tree:add(f.command, tvb(4, 1))
  tree:add(f.suite, tvb(5, 1))
  tree:add(f.hint, tvb(6, 1))
  tree:add(f.zero, tvb(7, 1))
  local name = COMMANDS[command]
  if not name or tvb(7, 1):uint() ~= 0 then
    tree:add_proto_expert_info(not_a_cell)
    return "?"
  end
  local body = tvb(HEADER_LEN, BODY_LEN)
  local c = COMMAND_OF
  if command == c.hello then
    local used = hello(body, tree)
    tree:add(f.padding, body(used))
  elseif command == c.credit then
    tree:add(f.credits, body(0, 4))
    name = name .. " " .. body(0, 4):uint()
  elseif command == c.build or command == c.reply0 then
    tree:add(f.ephemeral, body(0, KEY_LEN))
    tree:add(f.tag, body(KEY_LEN, TAG_LEN))
    tree:add(f.sealed, body(KEY_LEN + TAG_LEN))
  elseif command == c.forward or command == c.backward then
    tree:add(f.tag, body(0, TAG_LEN))
    tree:add(f.sealed, body(TAG_LEN))
  elseif command == c.ask or command == c.answer then
    if begins(link, side, pinfo, at, circuit, body) then
      name = name .. " " .. message(body, tree, command == c.answer)
    else
      tree:add(f.part, body)
      name = name .. " (goes on)"
    end
  else
    tree:add(f.body, body)
  end
  if circuit ~= 0 then name = string.format("%s %08x", name, circuit) end
  return name
end

local function sealed_frame(tvb, tree, link, side, number, pinfo, at)
  -- The responder's first transport message follows its handshake frame, as the initiator's does.
  local message_number = number - 1
  local key = key_for(link, side, message_number)
  tree:add(f.sealed, tvb(0, CELL_LEN))
  tree:add(f.tag, tvb(CELL_LEN, TAG_LEN))
  if not key then
    tree:add_proto_expert_info(no_key)
    return "cell, sealed"
  end
  local plain = ByteArray.new(decrypt(key, message_number, tvb(0, CELL_LEN):raw()), true):tvb("Cell")
  return cell(plain, tree:add(plain(), "Cell"), link, side, pinfo, at)
end

local function frame(tvb, pinfo, root, link)
  local side = side_of(link, pinfo)
  local at = tostring(tvb(FRAME_LEN - TAG_LEN, TAG_LEN):bytes())
  local number = number_of(link, side, pinfo, at)
  local tree = root:add(bauta, tvb(0, FRAME_LEN))
  tree:add(f.from, side == "i" and "initiator" or "responder"):set_generated()
  tree:add(f.frame, number):set_generated()
  local name
  if number == 0 and side == "i" then
    link.ephemeral = tostring(tvb(0, KEY_LEN):bytes()):lower()
    name = "handshake 1"
    tree:add(f.ephemeral, tvb(0, KEY_LEN))
    tree:add(f.static, tvb(KEY_LEN, KEY_LEN + TAG_LEN))
    tree:add(f.sealed, tvb(2 * KEY_LEN + TAG_LEN, FRAME_LEN - 2 * KEY_LEN - 2 * TAG_LEN))
    tree:add(f.mac1, tvb(FRAME_LEN - TAG_LEN, TAG_LEN))
  elseif number == 0 then
    name = "handshake 2"
    tree:add(f.ephemeral, tvb(0, KEY_LEN))
    tree:add(f.sealed, tvb(KEY_LEN, FRAME_LEN - KEY_LEN))
  else
    name = sealed_frame(tvb, tree, link, side, number, pinfo, at)
  end
  tree:add(f.kind, name):set_generated()
  tree:append_text(", " .. name)
  return name
end

function bauta.init()
  links, link_count, loaded = {}, 0, nil
end

function bauta.dissector(tvb, pinfo, root)
  load_keys()
  local link = link_of(pinfo)
  if not link then return 0 end
  pinfo.cols.protocol = "BAUTA"
  local names, offset = {}, 0
  while tvb:len() - offset >= FRAME_LEN do
    names[#names + 1] = frame(tvb(offset, FRAME_LEN):tvb(), pinfo, root, link)
    offset = offset + FRAME_LEN
  end
  if #names > 0 then
    -- What an earlier call said of this packet stays, behind the fence.
    pinfo.cols.info:set((link.told == pinfo.number and ", " or "") .. table.concat(names, ", "))
    pinfo.cols.info:fence()
    link.told = pinfo.number
  end
  if offset < tvb:len() then
    -- The rest of the frame is in the next segments.
    pinfo.desegment_offset = offset
    pinfo.desegment_len = FRAME_LEN - (tvb:len() - offset)
  end
  return tvb:len()
end

-- A stream is taken for a link when it begins with an ephemeral key of the key log; without one, use "Decode As".
local function is_link(tvb, pinfo, root)
  load_keys()
  if tvb:len() < KEY_LEN or not keys[tostring(tvb(0, KEY_LEN):bytes()):lower()] then return false end
  pinfo.conversation = bauta
  bauta.dissector(tvb, pinfo, root)
  return true
end

bauta:register_heuristic("tcp", is_link)
DissectorTable.get("tcp.port"):add_for_decode_as(bauta)
