import { BlockError } from '../../../core/plugin.ts';

/** Another gateway has the volume now. Nothing of ours is stored any more, and the disk fails every request. */
export class FencedError extends BlockError {
  /** `where`: what is that gateway's by now. */
  constructor(where: 'log' | 'head') {
    super('EIO', `FENCED: another gateway has taken the volume over, and its ${where} is that gateway's`);
  }
}
