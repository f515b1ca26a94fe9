/**
 * Messages of generic netlink, as far as the vDPA bus needs them: <linux/netlink.h>, <linux/genetlink.h>,
 * <linux/vdpa.h>. Pure: bytes in, bytes out. Little-endian, like the machine.
 */

const NLMSG_HEADER = 16;
const GENL_HEADER = 4;
const ATTRIBUTE_HEADER = 4;
const NLMSG_ERROR = 2;
const GENL_ID_CTRL = 0x10;
const NLM_F_REQUEST = 0x1;
const NLM_F_ACK = 0x4;
/** Of an NLMSG_ERROR: it does not repeat the request's payload, and it carries attributes. */
const NLM_F_CAPPED = 0x100;
const NLM_F_ACK_TLVS = 0x200;
const NLMSGERR_ATTR_MSG = 1;
/** Above it, bits of an attribute's type are flags. */
const ATTRIBUTE_TYPE_MASK = 0x3fff;

const CTRL_CMD_GETFAMILY = 3;
const CTRL_ATTR_FAMILY_ID = 1;
const CTRL_ATTR_FAMILY_NAME = 2;
const CTRL_VERSION = 2;

const VDPA_CMD_DEV_NEW = 3;
const VDPA_CMD_DEV_DEL = 4;
const VDPA_ATTR_MGMTDEV_DEV_NAME = 2;
const VDPA_ATTR_DEV_NAME = 4;
const VDPA_VERSION = 1;

/** The management device under which VDUSE makes its devices. */
const VDUSE_MANAGEMENT_DEVICE = 'vduse';

/** The kernel's answer to one message. */
export interface NetlinkReply {
  /** 0: done. */
  readonly errno: number;
  /** What the kernel adds in words. */
  readonly message?: string;
  /** Answer to `encodeGetFamily`. */
  readonly familyId?: number;
}

interface Message {
  readonly family: number;
  readonly command: number;
  readonly version: number;
  readonly flags: number;
  readonly attributes: readonly (readonly [type: number, text: string])[];
}

/** Asks for the number of a generic netlink family; it differs from boot to boot. */
export function encodeGetFamily(name: string): Uint8Array {
  return encode({
    family: GENL_ID_CTRL,
    command: CTRL_CMD_GETFAMILY,
    version: CTRL_VERSION,
    flags: NLM_F_REQUEST,
    attributes: [[CTRL_ATTR_FAMILY_NAME, name]],
  });
}

/** Attaches the VDUSE device `name` to the vDPA bus. */
export function encodeDeviceNew(family: number, name: string): Uint8Array {
  return encode({
    family,
    command: VDPA_CMD_DEV_NEW,
    version: VDPA_VERSION,
    flags: NLM_F_REQUEST | NLM_F_ACK,
    attributes: [
      [VDPA_ATTR_MGMTDEV_DEV_NAME, VDUSE_MANAGEMENT_DEVICE],
      [VDPA_ATTR_DEV_NAME, name],
    ],
  });
}

/** Takes the device `name` off the vDPA bus. */
export function encodeDeviceDelete(family: number, name: string): Uint8Array {
  return encode({
    family,
    command: VDPA_CMD_DEV_DEL,
    version: VDPA_VERSION,
    flags: NLM_F_REQUEST | NLM_F_ACK,
    attributes: [[VDPA_ATTR_DEV_NAME, name]],
  });
}

/** Decodes the first message of a datagram. Throws RangeError when it is cut short. */
export function decodeReply(bytes: Uint8Array): NetlinkReply {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const length = view.getUint32(0, true);
  if (length < NLMSG_HEADER || length > bytes.length)
    throw new RangeError(`a netlink message of ${length} bytes in a datagram of ${bytes.length}`);
  if (view.getUint16(4, true) !== NLMSG_ERROR) {
    const id = attribute(bytes, NLMSG_HEADER + GENL_HEADER, length, CTRL_ATTR_FAMILY_ID);
    return id === undefined ? { errno: 0 } : { errno: 0, familyId: id[0]! | (id[1]! << 8) };
  }
  const errno = Math.abs(view.getInt32(NLMSG_HEADER, true));
  const text = extendedMessage(bytes, view, length);
  return text === undefined ? { errno } : { errno, message: text };
}

/** The text of an extended acknowledgement, which follows the request's header, or the request as a whole. */
function extendedMessage(bytes: Uint8Array, view: DataView, length: number): string | undefined {
  const flags = view.getUint16(6, true);
  if ((flags & NLM_F_ACK_TLVS) === 0) return undefined;
  const request = NLMSG_HEADER + 4;
  const repeated = (flags & NLM_F_CAPPED) === 0 ? view.getUint32(request, true) : NLMSG_HEADER;
  const text = attribute(bytes, request + align(repeated), length, NLMSGERR_ATTR_MSG);
  return text === undefined ? undefined : new TextDecoder().decode(text).replace(/\0+$/, '');
}

/** The payload of the first attribute of a type between two offsets. */
function attribute(bytes: Uint8Array, from: number, to: number, type: number): Uint8Array | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = from; at + ATTRIBUTE_HEADER <= to; ) {
    const length = view.getUint16(at, true);
    if (length < ATTRIBUTE_HEADER || at + length > to)
      throw new RangeError('a netlink attribute is cut short');
    if ((view.getUint16(at + 2, true) & ATTRIBUTE_TYPE_MASK) === type)
      return bytes.subarray(at + ATTRIBUTE_HEADER, at + length);
    at += align(length);
  }
  return undefined;
}

function encode({ family, command, version, flags, attributes }: Message): Uint8Array {
  const texts = attributes.map(([type, text]) => [type, new TextEncoder().encode(`${text}\0`)] as const);
  const length = texts.reduce(
    (sum, [, text]) => sum + align(ATTRIBUTE_HEADER + text.length),
    NLMSG_HEADER + GENL_HEADER,
  );
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, length, true);
  view.setUint16(4, family, true);
  view.setUint16(6, flags, true);
  // One request per socket: any sequence number will do.
  view.setUint32(8, 1, true);
  view.setUint8(NLMSG_HEADER, command);
  view.setUint8(NLMSG_HEADER + 1, version);
  let at = NLMSG_HEADER + GENL_HEADER;
  for (const [type, text] of texts) {
    view.setUint16(at, ATTRIBUTE_HEADER + text.length, true);
    view.setUint16(at + 2, type, true);
    bytes.set(text, at + ATTRIBUTE_HEADER);
    at += align(ATTRIBUTE_HEADER + text.length);
  }
  return bytes;
}

const align = (length: number): number => (length + 3) & ~3;
