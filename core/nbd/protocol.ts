/**
 * Numbers of the Network Block Device protocol, as its specification (doc/proto.md of the NBD project) spells them.
 * Those that are used. Everything on the wire is big-endian. Numbers of 64 bits that are only compared are bigint.
 */

/** Port registered with IANA. */
export const NBD_DEFAULT_PORT = 10809;

/** "NBDMAGIC", first 8 bytes of the server. */
export const NBD_MAGIC = 0x4e42444d41474943n;
/** "IHAVEOPT": fixed newstyle follows; also starts each option of the client. */
export const NBD_OPTS_MAGIC = 0x49484156454f5054n;
/** Oldstyle negotiation instead of NBD_OPTS_MAGIC. */
export const NBD_CLISERV_MAGIC = 0x00420281861253n;
/** Starts each reply to an option. */
export const NBD_REP_MAGIC = 0x3e889045565a9n;

/** Handshake flags of the server (u16). */
export const NBD_FLAG_FIXED_NEWSTYLE = 1 << 0;
export const NBD_FLAG_NO_ZEROES = 1 << 1;
/** Handshake flags of the client (u32). */
export const NBD_FLAG_C_FIXED_NEWSTYLE = 1 << 0;
export const NBD_FLAG_C_NO_ZEROES = 1 << 1;

/** Options (u32). */
export const NBD_OPT_EXPORT_NAME = 1;
export const NBD_OPT_ABORT = 2;
export const NBD_OPT_LIST = 3;
export const NBD_OPT_STARTTLS = 5;
export const NBD_OPT_INFO = 6;
export const NBD_OPT_GO = 7;
export const NBD_OPT_STRUCTURED_REPLY = 8;
export const NBD_OPT_LIST_META_CONTEXT = 9;
export const NBD_OPT_SET_META_CONTEXT = 10;
export const NBD_OPT_EXTENDED_HEADERS = 11;

/** Replies to options (u32). The errors have the highest bit set. */
export const NBD_REP_ACK = 1;
export const NBD_REP_SERVER = 2;
export const NBD_REP_INFO = 3;
export const NBD_REP_META_CONTEXT = 4;
export const NBD_REP_FLAG_ERROR = 0x8000_0000;
export const NBD_REP_ERR_UNSUP = 0x8000_0001;
export const NBD_REP_ERR_POLICY = 0x8000_0002;
export const NBD_REP_ERR_INVALID = 0x8000_0003;
export const NBD_REP_ERR_TLS_REQD = 0x8000_0005;
export const NBD_REP_ERR_UNKNOWN = 0x8000_0006;
export const NBD_REP_ERR_EXT_HEADER_REQD = 0x8000_000a;

/** Information in NBD_REP_INFO (u16). */
export const NBD_INFO_EXPORT = 0;
export const NBD_INFO_NAME = 1;
export const NBD_INFO_DESCRIPTION = 2;
export const NBD_INFO_BLOCK_SIZE = 3;

/** Transmission flags of an export (u16). */
export const NBD_FLAG_HAS_FLAGS = 1 << 0;
export const NBD_FLAG_READ_ONLY = 1 << 1;
export const NBD_FLAG_SEND_FLUSH = 1 << 2;
export const NBD_FLAG_SEND_FUA = 1 << 3;
export const NBD_FLAG_SEND_TRIM = 1 << 5;
export const NBD_FLAG_SEND_WRITE_ZEROES = 1 << 6;
export const NBD_FLAG_SEND_DF = 1 << 7;
export const NBD_FLAG_CAN_MULTI_CONN = 1 << 8;
export const NBD_FLAG_SEND_CACHE = 1 << 10;
export const NBD_FLAG_SEND_FAST_ZERO = 1 << 11;

/** Requests: magic u32, flags u16, type u16, cookie u64, offset u64, length u32 (u64 with extended headers). */
export const NBD_REQUEST_MAGIC = 0x2560_9513;
export const NBD_REQUEST_SIZE = 28;
export const NBD_EXTENDED_REQUEST_MAGIC = 0x21e4_1c71;
export const NBD_EXTENDED_REQUEST_SIZE = 32;

export const NBD_CMD_READ = 0;
export const NBD_CMD_WRITE = 1;
export const NBD_CMD_DISC = 2;
export const NBD_CMD_FLUSH = 3;
export const NBD_CMD_TRIM = 4;
export const NBD_CMD_CACHE = 5;
export const NBD_CMD_WRITE_ZEROES = 6;
export const NBD_CMD_BLOCK_STATUS = 7;

/** Flags of requests (u16). */
export const NBD_CMD_FLAG_FUA = 1 << 0;
export const NBD_CMD_FLAG_NO_HOLE = 1 << 1;
export const NBD_CMD_FLAG_DF = 1 << 2;
export const NBD_CMD_FLAG_REQ_ONE = 1 << 3;
export const NBD_CMD_FLAG_FAST_ZERO = 1 << 4;
export const NBD_CMD_FLAG_PAYLOAD_LEN = 1 << 5;

/** Simple reply: magic u32, error u32, cookie u64, then the data of a read. */
export const NBD_SIMPLE_REPLY_MAGIC = 0x6744_6698;
export const NBD_SIMPLE_REPLY_SIZE = 16;
/** Chunk of a structured reply: magic u32, flags u16, type u16, cookie u64, length u32. */
export const NBD_STRUCTURED_REPLY_MAGIC = 0x668e_33ef;
export const NBD_STRUCTURED_REPLY_SIZE = 20;
/** Chunk with extended headers: magic u32, flags u16, type u16, cookie u64, offset u64, length u64. */
export const NBD_EXTENDED_REPLY_MAGIC = 0x6e8a_278c;
export const NBD_EXTENDED_REPLY_SIZE = 32;

/** The last chunk of its reply. */
export const NBD_REPLY_FLAG_DONE = 1 << 0;

/** Types of chunks (u16). Errors have bit 15 set: error u32, length of message u16, message, rest by type. */
export const NBD_REPLY_TYPE_NONE = 0;
export const NBD_REPLY_TYPE_OFFSET_DATA = 1;
export const NBD_REPLY_TYPE_OFFSET_HOLE = 2;
export const NBD_REPLY_TYPE_BLOCK_STATUS = 5;
export const NBD_REPLY_TYPE_BLOCK_STATUS_EXT = 6;
export const NBD_REPLY_TYPE_FLAG_ERROR = 1 << 15;
export const NBD_REPLY_TYPE_ERROR = (1 << 15) + 1;
export const NBD_REPLY_TYPE_ERROR_OFFSET = (1 << 15) + 2;

/** The one metadata context that everybody has, and its flags. */
export const NBD_META_BASE_ALLOCATION = 'base:allocation';
export const NBD_STATE_HOLE = 1 << 0;
export const NBD_STATE_ZERO = 1 << 1;

/** Error values of replies (u32); anything else means NBD_EINVAL. */
export const NBD_EPERM = 1;
export const NBD_EIO = 5;
export const NBD_ENOMEM = 12;
export const NBD_EINVAL = 22;
export const NBD_ENOSPC = 28;
export const NBD_ENOTSUP = 95;
export const NBD_ESHUTDOWN = 108;

/** Longest string (export name, description, query) in bytes, UTF-8. */
export const NBD_MAX_STRING_SIZE = 4096;
/** Payload that every side must take when no block size constraints were exchanged: 32 MiB. */
export const NBD_PORTABLE_MAX_PAYLOAD = 32 * 1024 * 1024;
