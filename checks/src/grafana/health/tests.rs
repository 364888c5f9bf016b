mod answers;
mod files;
