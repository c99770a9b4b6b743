// Made by generate.js of protocol/hooks.json and protocol/words.json.

/** Each hook, in the order of the dialogue, and what may be answered there. */
export const HOOKS = {
  connect: {"asked":true,"verdicts":["declined","ok","deny","denysoft","deny_disconnect","denysoft_disconnect"],"ok_codes":[220],"ok_reply":"reply","actions":["session.relay","session.client_name","reply.delay"]},
  helo: {"asked":true,"verdicts":["declined","ok","deny","denysoft","deny_disconnect","denysoft_disconnect"],"ok_codes":[250],"ok_reply":"reply","actions":["session.relay","reply.delay"]},
  ehlo: {"asked":true,"verdicts":["declined","ok","deny","denysoft","deny_disconnect","denysoft_disconnect"],"ok_codes":[250],"ok_reply":"reply","actions":["session.relay","reply.delay"]},
  auth: {"asked":true,"verdicts":["declined","ok","deny","denysoft","deny_disconnect","denysoft_disconnect","done"],"ok_codes":[235],"ok_reply":"reply","actions":["session.relay","reply.delay","auth.challenge"]},
  mail: {"asked":true,"verdicts":["declined","ok","deny","denysoft","deny_disconnect","denysoft_disconnect"],"ok_codes":[250],"ok_reply":"reply","actions":["sender.replace","session.relay","reply.delay"]},
  rcpt: {"asked":true,"verdicts":["declined","ok","deny","denysoft","deny_disconnect","denysoft_disconnect"],"ok_codes":[250,251],"ok_reply":"reply","actions":["recipient.add","recipient.remove","recipient.replace","sender.replace","session.relay","reply.delay"]},
  data: {"asked":true,"verdicts":["declined","ok","deny","denysoft","deny_disconnect","denysoft_disconnect"],"ok_codes":[354],"ok_reply":"reply","actions":["recipient.add","recipient.remove","recipient.replace","sender.replace"]},
  data_headers_end: {"asked":true,"verdicts":["declined","ok","deny_disconnect","denysoft_disconnect"],"ok_codes":[],"ok_reply":"none","actions":["header.add","header.set","header.delete","header.delete_all","recipient.add","recipient.remove","recipient.replace","sender.replace"]},
  received_line: {"asked":true,"verdicts":["declined","ok"],"ok_codes":[],"ok_reply":"text","actions":[]},
  data_post_headers: {"asked":true,"verdicts":["declined","ok"],"ok_codes":[],"ok_reply":"none","actions":["header.add","header.set","header.delete","header.delete_all","recipient.add","recipient.remove","recipient.replace","sender.replace","message.replace"]},
  data_post: {"asked":true,"verdicts":["declined","ok","deny","denysoft","deny_disconnect","denysoft_disconnect","done"],"ok_codes":[],"ok_reply":"none","actions":["header.add","header.set","header.delete","header.delete_all","recipient.add","recipient.remove","recipient.replace","recipient.refuse","sender.replace","message.replace"]},
  queue_pre: {"asked":true,"verdicts":["declined","ok","done"],"ok_codes":[],"ok_reply":"none","actions":["header.add","header.set","header.delete","header.delete_all","recipient.add","recipient.remove","recipient.replace","sender.replace"]},
  queue: {"asked":true,"verdicts":["declined","ok","deny","denysoft","deny_disconnect","denysoft_disconnect"],"ok_codes":[250],"ok_reply":"reply","actions":["recipient.refuse"]},
  vrfy: {"asked":true,"verdicts":["declined","ok","deny","denysoft","deny_disconnect","denysoft_disconnect","done"],"ok_codes":[250,251,252],"ok_reply":"reply","actions":[]},
  help: {"asked":true,"verdicts":["declined","ok","deny","done"],"ok_codes":[211,214],"ok_reply":"reply","actions":[]},
  noop: {"asked":true,"verdicts":["declined","ok","deny","deny_disconnect","done"],"ok_codes":[250],"ok_reply":"reply","actions":[]},
  unrecognized_command: {"asked":true,"verdicts":["declined","ok","deny","denysoft","deny_disconnect","denysoft_disconnect","done"],"ok_codes":[500],"ok_reply":"reply","actions":[]},
  quit: {"asked":true,"verdicts":["declined","ok","done"],"ok_codes":[221],"ok_reply":"reply","actions":[]},
  reset_transaction: {"asked":false},
  queue_post: {"asked":false},
  deny: {"asked":false},
  ok: {"asked":false},
  disconnect: {"asked":false},
  status: {"asked":false},
};

/** Each message type, and the side that sends it. */
export const MESSAGES = {"hello":"worker","welcome":"frontend","reject":"frontend","event":"frontend","notify":"frontend","verdict":"worker","error":"worker","progress":"worker","cancel":"frontend","violation":"frontend","ping":"both","pong":"both","drain":"both","bye":"both"};

/** The words of a verdict. */
export const VERDICTS = ["declined","ok","deny","denysoft","deny_disconnect","denysoft_disconnect","done"];

/** The parts of an event that a worker gets only if it names them. */
export const NEEDS = ["recipients","headers","message","trace"];

/** Each action, and the fields that it needs. */
export const ACTIONS = {"header.add":["name","value"],"header.set":["id","value"],"header.delete":["id"],"header.delete_all":["name"],"recipient.add":["address"],"recipient.remove":["id"],"recipient.replace":["id","address"],"recipient.refuse":["id","verdict"],"sender.replace":["address"],"message.replace":["path"],"session.relay":["value"],"session.client_name":["value"],"reply.delay":["ms"],"auth.challenge":["challenge","state"]};

/** Octets, characters, or counts. */
export const LIMITS = {"nesting":32,"integer":9007199254740991,"handshake_frame":65536,"least_max_frame":65536,"most_max_frame":16777216,"default_max_frame":65536,"sdk_max_frame":1048576,"concurrency":65535,"default_concurrency":1,"plugins":1024,"extensions":64,"short_text":128,"free_text":1024,"code":64,"pool_name":64,"worker_name":64,"actions":256,"trace":256,"notes_octets":65536,"reply_lines":20,"reply_line_octets":500,"header_name_octets":255,"header_value_octets":65536,"header_line_octets":998,"challenge_octets":8192,"state_octets":4096,"login_steps":8,"client_name_octets":255,"path_octets":255,"attempts":8,"losses":3,"progress":100};
