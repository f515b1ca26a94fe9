import type { Cluster, Redis } from 'ioredis';

/**
 * What the server does by itself, in one step that nothing comes between. Scripts rather than functions: those have to be
 * loaded, into every master and again after a failover, and take a right of their own; ioredis loads a script where a
 * server does not know it.
 */

/** Only for whoever has the volume. Owner keys hold `<epoch>:<nonce>.<claims>`. */
const CHECK_OWNER = `
local owner = redis.call('GET', KEYS[1])
if not owner then return redis.error_reply('BGGONE the volume is not there') end
if owner ~= ARGV[1] then return redis.error_reply('BGFENCED the volume belongs to ' .. owner) end
`;

/**
 * KEYS: owner, presence, then the chunk of each item. ARGV: owner, then four per item: bit, what to do, and two operands.
 *   w offset data     write
 *   z offset length   write zeros, where there is a chunk
 *   d - -             drop the chunk
 * Returns a number per item: 0 done, 1 the chunk should be there and is not.
 */
const CHANGE = `${CHECK_OWNER}
if redis.call('EXISTS', KEYS[2]) == 0 then return redis.error_reply('BGGONE the volume is not there') end
local out = {}
for i = 3, #KEYS do
  local at = 2 + (i - 3) * 4
  local bit, op, a, b = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  local there = redis.call('GETBIT', KEYS[2], bit) == 1
  local status = 0
  if op == 'd' then
    if there then
      redis.call('UNLINK', KEYS[i])
      redis.call('SETBIT', KEYS[2], bit, 0)
    end
  elseif there and redis.call('EXISTS', KEYS[i]) == 0 then
    status = 1
  elseif op == 'w' then
    redis.call('SETRANGE', KEYS[i], a, b)
    if not there then redis.call('SETBIT', KEYS[2], bit, 1) end
  elseif there then
    redis.call('SETRANGE', KEYS[i], a, string.rep('\\0', tonumber(b)))
  end
  out[#out + 1] = status
end
return out`;

/**
 * Writes to chunks that exist, which are most: as `CHANGE`, with two arguments per chunk, offset and data, and without a
 * call for each chunk to see whether it is there. Returns nothing, and changes nothing, when one is not.
 */
const WRITE = `${CHECK_OWNER}
if redis.call('EXISTS', unpack(KEYS, 2)) ~= #KEYS - 1 then return false end
for i = 2, #KEYS do redis.call('SETRANGE', KEYS[i], ARGV[i * 2 - 2], ARGV[i * 2 - 1]) end
return {}`;

/**
 * KEYS: owner, presence, chunk. ARGV: bit, first and last byte. Returns 0 and nothing where there is no chunk, 1 and
 * nothing where one should be, 2 and what there is of the bytes.
 */
const READ = `
if redis.call('EXISTS', KEYS[1], KEYS[2]) ~= 2 then return redis.error_reply('BGGONE the volume is not there') end
if redis.call('GETBIT', KEYS[2], ARGV[1]) == 0 then return {0, ''} end
if redis.call('EXISTS', KEYS[3]) == 0 then return {1, ''} end
return {2, redis.call('GETRANGE', KEYS[3], ARGV[2], ARGV[3])}`;

/**
 * KEYS: owner. ARGV: epoch, nonce, and how many times it was claimed. Whoever has the greater epoch has the shard. A claim
 * that comes late, from a connection that was given up, undoes none of its own gateway's later ones.
 */
const CLAIM = `
local owner = redis.call('GET', KEYS[1])
if not owner then return redis.error_reply('BGGONE the volume is not there') end
local mine = ARGV[1] .. ':' .. ARGV[2] .. '.'
if string.sub(owner, 1, #mine) == mine then
  if tonumber(string.sub(owner, #mine + 1)) >= tonumber(ARGV[3]) then return 1 end
elseif tonumber(string.match(owner, '^(%d+):')) >= tonumber(ARGV[1]) then
  return redis.error_reply('BGFENCED the volume belongs to ' .. owner)
end
redis.call('SET', KEYS[1], mine .. ARGV[3])
return 1`;

/** KEYS: description. ARGV: fields and values. Returns 0 when there is a volume already. */
const CREATE = `
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV))
return 1`;

/** KEYS: holder. ARGV: nonce, record, milliseconds. Returns the record of somebody else, if there is one. */
const HOLD = `
local holder = redis.call('GET', KEYS[1])
if holder and not string.find(holder, ARGV[1], 1, true) then return holder end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return false`;

/** KEYS: holder. ARGV: nonce. */
const RELEASE = `
local holder = redis.call('GET', KEYS[1])
if holder and string.find(holder, ARGV[1], 1, true) then redis.call('DEL', KEYS[1]) end
return 1`;

export const SCRIPTS = {
  bgChange: { lua: CHANGE },
  bgWrite: { lua: WRITE },
  bgRead: { lua: READ },
  bgClaim: { lua: CLAIM, numberOfKeys: 1 },
  bgCreate: { lua: CREATE, numberOfKeys: 1 },
  bgHold: { lua: HOLD, numberOfKeys: 1 },
  bgRelease: { lua: RELEASE, numberOfKeys: 1 },
};

type Argument = string | number | Buffer;

/** A client that knows the scripts; a name with "Buffer" gives buffers. */
export type Scripted<C = Redis | Cluster> = C & {
  bgChange(keys: number, ...rest: Argument[]): Promise<number[]>;
  bgWrite(keys: number, ...rest: Argument[]): Promise<number[] | null>;
  bgReadBuffer(keys: number, ...rest: Argument[]): Promise<[number, Buffer]>;
  bgClaim(owner: string, epoch: number, nonce: string, claims: number): Promise<number>;
  bgCreate(description: string, ...fields: Argument[]): Promise<number>;
  bgHold(holder: string, nonce: string, record: string, ms: number): Promise<string | null>;
  bgRelease(holder: string, nonce: string): Promise<number>;
};
