/** How many bytes of an image `formatOf` looks at. */
export const MAGIC_BYTES = 512;

interface Format {
  readonly name: string;
  readonly magic: Buffer;
  /** Where the magic is. Bytes. Default: at the beginning. */
  readonly at?: number;
}

const magic = (text: string): Buffer => Buffer.from(text, 'latin1');

/** What images are stored as that are not raw, and what raw ones are compressed with. */
const FORMATS: readonly Format[] = [
  { name: 'in the format qcow2', magic: magic('QFI\xfb') },
  { name: 'in the format qed', magic: magic('QED\0') },
  { name: 'in the format vmdk', magic: magic('KDMV') },
  { name: 'in the format vmdk', magic: magic('# Disk DescriptorFile') },
  { name: 'in the format vhdx', magic: magic('vhdxfile') },
  { name: 'in the format vhd', magic: magic('conectix') },
  { name: 'in the format vdi', magic: magic('\x7f\x10\xda\xbe'), at: 0x40 },
  { name: 'compressed with gzip', magic: magic('\x1f\x8b\x08') },
  { name: 'compressed with xz', magic: magic('\xfd7zXZ\0') },
  { name: 'compressed with zstd', magic: magic('\x28\xb5\x2f\xfd') },
  { name: 'compressed with bzip2', magic: magic('BZh') },
];

/** What an image is that begins with `head`, in words after "it is"; undefined where nothing speaks against a raw disk. */
export function formatOf(head: Buffer): string | undefined {
  return FORMATS.find(({ magic: bytes, at = 0 }) => head.subarray(at, at + bytes.length).equals(bytes))?.name;
}
